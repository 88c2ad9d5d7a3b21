"""A database with rows old and new, and an archive to move the old ones to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Connection, Engine, insert, text

from autoindex.requests import ArchivedType
from autoindex.storage.retention import deletion
from autoindex.storage.retention.deletion import Removed
from autoindex.storage.runs import results
from autoindex.storage.tables import news_articles, prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow

FIRST: Final = date(2020, 1, 1)
SYMBOLS: Final = ("AAPL", "KO")
STORED: Final = {
    "prices": "select symbol, session, open, high, low, close, volume"
    " from prices join assets on assets.id = asset_id",
    "news_articles": "select url, published_at, headline, source, symbol, body"
    " from news_articles left join assets on assets.id = asset_id",
    "task_results": "select task_id::text, kind, result::text, created_at, expires_at"
    " from task_results",
}

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Scene:
    """A database and an archive, both looked into without the modules under test."""

    engine: Engine
    folder: Path

    @property
    def archive_url(self) -> str:
        return self.folder.as_uri()

    def fill(self, days: int = 100) -> None:
        """So many days of prices of two assets, of news and of results, from January 2020 on."""
        with self.engine.begin() as connection:
            fill(connection, days)

    def clean(self, **changed: Any) -> list[Removed]:
        """Clean up what is older than 15 March 2020."""
        types: Sequence[ArchivedType] = ("prices", "news", "logs")
        arguments: dict[str, Any] = {
            "types": types,
            "older_than": date(2020, 3, 15),
            "archive_url": self.archive_url,
            "dry_run": False,
            "batch_rows": 25,
            "pause_seconds": 0,
        }
        return deletion.clean(self.engine, **(arguments | changed))

    def stored(self) -> dict[str, list[Row]]:
        """Every row of the tables that age, sorted."""
        with self.engine.connect() as connection:
            return {
                name: in_order(tuple(row) for row in connection.execute(text(query)))
                for name, query in STORED.items()
            }

    def archived(self) -> dict[str, list[Row]]:
        """Every row of every Parquet file, sorted."""
        return {
            name: in_order(
                tuple(row.values())
                for path in self.folder.glob(f"{name}/*/*.parquet")
                for row in pq.ParquetFile(path).read().to_pylist()
            )
            for name in STORED
        }


def in_order(rows: Any) -> list[Row]:
    return sorted(rows, key=repr)


def fill(connection: Connection, days: int) -> None:
    universe = [
        UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name=symbol)
        for symbol in SYMBOLS
    ]
    import_universe(connection, universe)
    ids = [asset.id for asset in assets.list_assets(connection)]
    dates = [FIRST + timedelta(days=number) for number in range(days)]
    noons = [datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in dates]
    connection.execute(insert(prices), [price(id_, day) for id_ in ids for day in dates])
    connection.execute(insert(news_articles), [article(instant, ids[0]) for instant in noons])
    for number, instant in enumerate(noons):
        result = {"symbols_processed": number, "duration_seconds": 0.1}
        results.store(connection, UUID(int=number), "refresh", result, instant, timedelta(hours=24))


def price(asset_id: int, day: date) -> dict[str, Any]:
    close = 100 + asset_id + day.toordinal() / 7
    values = {"open": close - 0.1, "high": close + 1, "low": close - 1, "close": close}
    volume = day.toordinal() if day.day % 2 else None
    return {"asset_id": asset_id, "session": day, "volume": volume, **values}


def article(instant: datetime, asset_id: int) -> dict[str, Any]:
    return {
        "url": f"https://news.test/{instant:%Y%m%d}",
        "published_at": instant,
        "headline": "A headline",
        "source": "wire",
        "asset_id": asset_id if instant.day % 2 else None,
        "body": "Ein Satz, 一句话, “quoted”\tand\\N." if instant.day % 3 else None,
    }


@pytest.fixture
def scene(engine: Engine, tmp_path: Path) -> Scene:
    """100 days of rows, nothing archived yet."""
    made = Scene(engine, tmp_path / "archive")
    made.fill()
    return made
