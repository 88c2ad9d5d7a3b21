"""A PostgreSQL of the benchmark's own, and made-up prices to fill it with."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, create_engine, text

from autoindex import sessions
from autoindex.market_data.bars import Bars
from autoindex.storage import migrate
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from deployments.local.embedded_postgres import EmbeddedPostgres

LAST_SESSION = "2022-12-28"

Columns: TypeAlias = Mapping[str, NDArray[Any]]


@contextmanager
def empty() -> Iterator[Engine]:
    """An embedded server as the local stack runs it, all tables in place, gone afterwards.

    `BENCH_DATABASE_URL` names a database to make on another server instead; it stays there.
    """
    with ExitStack() as stack:
        url = os.environ.get("BENCH_DATABASE_URL")
        if url is None:
            place = Path(stack.enter_context(TemporaryDirectory()))
            url = stack.enter_context(EmbeddedPostgres(place / "pg", place / "run")).url(
                "autoindex"
            )
        migrate.create_database(url)
        migrate.upgrade(url)
        engine = create_engine(url)
        stack.callback(engine.dispose)
        yield engine


def url_of(engine: Engine) -> str:
    """The URL of the database, for another process."""
    return engine.url.render_as_string(hide_password=False)


def universe(engine: Engine, count: int) -> dict[str, int]:
    """So many assets, `S0000` and on; their numbers by symbol."""
    rows = [
        UniverseRow(symbol=f"S{n:04d}", exchange="NYSE", currency="USD", name=f"Sample {n}")
        for n in range(count)
    ]
    with engine.begin() as connection:
        import_universe(connection, rows)
        return {asset.symbol: asset.id for asset in assets.list_assets(connection)}


def walk(symbol: str, count: int, seed: int) -> Bars:
    """A random walk over the last `count` sessions of the sandbox, with ranges and volumes."""
    last = np.datetime64(LAST_SESSION, "D")
    days = sessions.between((last - 2 * count).item(), last.item())[-count:]
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0.0003, 0.015, count))), 4)
    high, low = close * 1.01, close * 0.99
    volume = random.integers(10_000, 50_000_000, count)
    return Bars(symbol, days.to_numpy().astype("datetime64[D]"), close, high, low, close, volume)


def wal_bytes(engine: Engine) -> int:
    """Where the write-ahead log stands; the difference of two is what was written between."""
    with engine.connect() as connection:
        query = text("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
        return int(connection.execute(query).scalar_one())
