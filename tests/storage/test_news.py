"""News articles are known by their URL."""

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Engine, select

from autoindex.storage import news
from autoindex.storage.news import Article
from autoindex.storage.tables import news_articles

INSTANT = datetime(2022, 3, 1, 9, 30, tzinfo=UTC)
ARTICLE = Article("https://news.test/1", INSTANT, "Up", "wire", body="It went up.")


def test_an_article_that_comes_twice_is_stored_once_as_it_came_last(engine: Engine) -> None:
    other = replace(ARTICLE, url="https://news.test/2")
    with engine.begin() as connection:
        assert news.insert(connection, []) == 0
        assert news.insert(connection, [ARTICLE, other]) == 2
        assert news.insert(connection, [replace(ARTICLE, headline="Down", body=None)]) == 1
        rows = connection.execute(
            select(news_articles.c.headline, news_articles.c.body).order_by(news_articles.c.url)
        )
        assert [tuple(row) for row in rows] == [("Down", None), ("Up", "It went up.")]


def test_articles_are_counted_up_to_an_instant_and_without_it(engine: Engine) -> None:
    with engine.begin() as connection:
        news.insert(connection, [ARTICLE])
        assert news.count_before(connection, INSTANT) == 0
        assert news.count_before(connection, INSTANT.replace(microsecond=1)) == 1
