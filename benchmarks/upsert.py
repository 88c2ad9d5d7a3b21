"""How long 1,000,000 daily bars take to store, beside a raw COPY into an empty copy of the table.

    python -m benchmarks.upsert

The raw COPY is binary, from the same arrays, into a table with the same columns and indexes but
no foreign key. Both are timed from the arrays to the end of the commit, three times on fresh
tables; the best of each counts. The repeat is the identical load again.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Engine, text

from autoindex.market_data.bars import Bars
from autoindex.storage.postgres import binary_copy
from autoindex.storage.prices import stored_prices
from benchmarks import database, table
from benchmarks.table import Ratio

SYMBOLS = 200
SESSIONS = 5_000
ROUNDS = 3
FIRST_TARGET = 2.2
REPEAT_TARGET = 1.2


def ratios() -> Iterator[Ratio]:
    """First load and repeat beside the raw COPY, and what the repeat leaves behind."""
    with database.empty() as engine:
        ids = database.universe(engine, SYMBOLS)
        bars = [database.walk(symbol, SESSIONS, seed) for seed, symbol in enumerate(ids)]
        took: dict[str, list[float]] = {"raw": [], "first": [], "repeat": []}
        for _ in range(ROUNDS):
            took["raw"].append(raw_copy(engine, bars, ids))
            with engine.begin() as connection:
                connection.execute(text("truncate prices"))
            took["first"].append(load(engine, bars, ids, inserted=SYMBOLS * SESSIONS))
            settle(engine)
            before = database.wal_bytes(engine)
            took["repeat"].append(load(engine, bars, ids, inserted=0))
            wal = (database.wal_bytes(engine) - before) / 1e6
    raw = min(took["raw"])
    names = "COPY"
    yield Ratio("upsert: first load", min(took["first"]), raw, names, at_most=FIRST_TARGET)
    yield Ratio("upsert: same again", min(took["repeat"]), raw, names, at_most=REPEAT_TARGET)
    yield Ratio("upsert: WAL of the same again", wal, 1.0, "limit", unit="MB", at_most=1)


def raw_copy(engine: Engine, bars: Sequence[Bars], ids: dict[str, int]) -> float:
    """Seconds of a COPY into an empty table like `prices`."""
    with engine.begin() as connection:
        connection.execute(text("drop table if exists raw_prices"))
        connection.execute(text("create table raw_prices (like prices including all)"))
    with timed() as seconds, engine.begin() as connection:
        columns = stored_prices.columns([(ids[one.symbol], one) for one in bars])
        binary_copy.load(connection, "raw_prices", columns)
    return seconds[0]


def load(engine: Engine, bars: Sequence[Bars], ids: dict[str, int], *, inserted: int) -> float:
    """Seconds of an upsert that must insert so many rows and leave the others alone."""
    with timed() as seconds, engine.begin() as connection:
        counts = stored_prices.upsert(connection, bars, ids)
    expected = (inserted, 0, SYMBOLS * SESSIONS - inserted)
    if (counts.inserted, counts.updated, counts.unchanged) != expected:
        raise SystemExit(f"the counts are wrong: {counts}")
    return seconds[0]


def settle(engine: Engine) -> None:
    """Let the server finish what it would do in the background, so that it is not counted."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze prices"))
        connection.execute(text("checkpoint"))


@contextmanager
def timed() -> Iterator[list[float]]:
    """The seconds that what is inside took, once it is done."""
    took: list[float] = []
    began = time.perf_counter()
    yield took
    took.append(time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(table.main(ratios))
