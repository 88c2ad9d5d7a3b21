"""News articles: the app writes them, Autoindex ages them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql

from autoindex.storage.tables import news_articles


@dataclass(frozen=True, slots=True)
class Article:
    """One article, known by its URL; `asset_id` is None where it is about no single asset."""

    url: str
    published_at: datetime
    headline: str
    source: str
    asset_id: int | None = None
    body: str | None = None


def insert(connection: Connection, articles: Sequence[Article]) -> int:
    """Store articles, those that are known already replaced; how many were written."""
    if not articles:
        return 0
    new = postgresql.insert(news_articles)
    fields = {name: new.excluded[name] for name in Article.__dataclass_fields__ if name != "url"}
    written = new.on_conflict_do_update(
        index_elements=[news_articles.c.url], set_=fields
    ).execution_options(preserve_rowcount=True)
    return connection.execute(written, [asdict(article) for article in articles]).rowcount


def count_before(connection: Connection, instant: datetime) -> int:
    """How many articles were published before `instant`."""
    query = select(func.count()).where(news_articles.c.published_at < instant)
    return connection.execute(query).scalar_one()
