"""Clean-up on a real PostgreSQL and a real folder: what goes, what stays, and what a kill leaves."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Connection, Engine, insert, text

from autoindex.requests import CleanupType
from autoindex.storage import assets, cleanup, news, results, versions
from autoindex.storage.assets import UniverseRow
from autoindex.storage.cleanup import Removed
from autoindex.storage.news import Article
from autoindex.storage.tables import prices

FIRST, OLDER_THAN = date(2020, 1, 1), date(2020, 3, 15)
SYMBOLS = ("AAPL", "KO")
TYPES: tuple[CleanupType, ...] = ("prices", "news", "logs")
# 60 weekdays and weekends alike from 1 January; 14 of March are old.
OLD_DAYS, ALL_DAYS = 74, 100

Row = tuple[Any, ...]


@pytest.fixture
def archive_url(tmp_path: Path) -> str:
    return (tmp_path / "archive").as_uri()


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """A database with 100 days of prices of two assets, of news and of results."""
    with engine.begin() as connection:
        fill(connection)
    return engine


def fill(connection: Connection) -> None:
    universe = [
        UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name=symbol)
        for symbol in SYMBOLS
    ]
    assets.import_universe(connection, universe)
    ids = [asset.id for asset in assets.list_assets(connection)]
    days = [FIRST + timedelta(days=number) for number in range(ALL_DAYS)]
    connection.execute(insert(prices), [price(id_, day) for id_ in ids for day in days])
    noon = [datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in days]
    news.insert(connection, [article(instant, ids[0]) for instant in noon])
    for number, instant in enumerate(noon):
        content = {"symbols_processed": number, "duration_seconds": 0.1}
        results.store(
            connection, UUID(int=number), "refresh", content, instant, timedelta(hours=24)
        )


def price(asset_id: int, day: date) -> dict[str, Any]:
    close = 100 + asset_id + day.toordinal() / 7
    values = {"open": close - 0.1, "high": close + 1, "low": close - 1, "close": close}
    volume = day.toordinal() if day.day % 2 else None
    return {"asset_id": asset_id, "session": day, "volume": volume, **values}


def article(instant: datetime, asset_id: int) -> Article:
    named = asset_id if instant.day % 2 else None
    body = "Ein Satz, 一句话, “quoted”\tand\\N." if instant.day % 3 else None
    return Article(
        f"https://news.test/{instant:%Y%m%d}", instant, "A headline", "wire", named, body
    )


def run(engine: Engine, archive_url: str, **changed: Any) -> list[Removed]:
    arguments: dict[str, Any] = {
        "types": TYPES,
        "older_than": OLDER_THAN,
        "archive_url": archive_url,
        "dry_run": False,
        "batch_rows": 25,
        "pause_seconds": 0,
    }
    return cleanup.clean(engine, **(arguments | changed))


STORED = {
    "prices": "select symbol, session, open, high, low, close, volume"
    " from prices join assets on assets.id = asset_id",
    "news_articles": "select url, published_at, headline, source, symbol, body"
    " from news_articles left join assets on assets.id = asset_id",
    "task_results": "select task_id::text, kind, result::text, created_at, expires_at"
    " from task_results",
}


def stored(engine: Engine) -> dict[str, list[Row]]:
    with engine.connect() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(text(query))), key=repr)
            for name, query in STORED.items()
        }


def archived(archive_url: str) -> dict[str, list[Row]]:
    """Every row of every Parquet file, found without the module under test."""
    folder = Path(archive_url.removeprefix("file://"))
    return {
        name: sorted(
            (
                tuple(row.values())
                for path in sorted(folder.glob(f"{name}/*/*.parquet"))
                for row in pq.read_table(path).to_pylist()
            ),
            key=repr,
        )
        for name in STORED
    }


def test_old_rows_move_into_the_archive_whole(filled: Engine, archive_url: str) -> None:
    before = stored(filled)
    removed = run(filled, archive_url)
    after, moved = stored(filled), archived(archive_url)
    # A result made at noon expires at noon of the day after.
    assert [(one.type, one.archived, one.deleted) for one in removed] == [
        ("prices", 148, 148),
        ("news", 74, 74),
        ("logs", 73, 73),
    ]
    for name, rows in before.items():
        assert sorted(after[name] + moved[name], key=repr) == rows
    assert min(row[1] for row in after["prices"]) == OLDER_THAN
    assert max(row[1] for row in moved["prices"]) == OLDER_THAN - timedelta(days=1)


def test_a_second_run_finds_nothing(filled: Engine, archive_url: str) -> None:
    run(filled, archive_url)
    moved = archived(archive_url)
    assert run(filled, archive_url) == [Removed(kind) for kind in TYPES]
    assert archived(archive_url) == moved


def test_a_dry_run_counts_what_the_real_one_deletes(filled: Engine, archive_url: str) -> None:
    before = stored(filled)
    counted = run(filled, archive_url, dry_run=True)
    assert stored(filled) == before
    assert not any(archived(archive_url).values())
    done = run(filled, archive_url)
    assert [one.deleted for one in counted] == [one.deleted for one in done] == [148, 74, 73]
    assert [one.archived for one in counted] == [0, 0, 0]


def test_only_the_types_asked_for_are_touched(filled: Engine, archive_url: str) -> None:
    before = stored(filled)
    run(filled, archive_url, types=["news", "news"])
    after = stored(filled)
    assert after["prices"] == before["prices"]
    assert after["task_results"] == before["task_results"]
    assert len(after["news_articles"]) == ALL_DAYS - OLD_DAYS


def test_rows_are_deleted_in_batches_of_their_own(filled: Engine, archive_url: str) -> None:
    (removed,) = run(filled, archive_url, types=["prices"], batch_rows=10)
    # 62, 58 and 28 rows, ten at a time.
    assert removed.batches == 7 + 6 + 3


def test_no_refresh_will_fetch_back_what_was_removed(filled: Engine, archive_url: str) -> None:
    with filled.begin() as connection:
        connection.execute(
            text("update assets set prices_kept_from = '2024-01-01' where symbol = 'KO'")
        )
        version = versions.current(connection, versions.PRICES)
    run(filled, archive_url)
    with filled.connect() as connection:
        kept = {a.symbol: a.prices_kept_from for a in assets.list_assets(connection)}
        assert versions.current(connection, versions.PRICES) > version
    assert kept == {"AAPL": OLDER_THAN, "KO": date(2024, 1, 1)}
