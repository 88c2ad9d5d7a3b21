"""How long 2,520,000 closes take to read into a matrix, beside a raw binary COPY out.

    python -m benchmarks.prices

500 symbols × 5,040 sessions, at a quarter and at half of the symbols too. The raw COPY sends asset,
session and close of every row to a reader that throws them away; it builds nothing. Each is read
three times, the best counts. Peak memory is measured in processes of their own: what reading adds
to a process that has imported everything, ours beside pandas.
"""

import sys
from collections.abc import Callable, Iterator
from datetime import date

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, create_engine, text

from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets
from benchmarks import alone, database, memory, table
from benchmarks.table import Ratio
from benchmarks.upsert import settle, timed

SYMBOLS = 500
SESSIONS = 5_040
ROUNDS = 3
FIRST, LAST = date(1990, 1, 1), date.fromisoformat(database.LAST_SESSION)


def ratios() -> Iterator[Ratio]:
    """Reading at three sizes beside the raw COPY, its growth, and its memory beside pandas."""
    took = {}
    for symbols in (SYMBOLS // 4, SYMBOLS // 2, SYMBOLS):
        with database.empty() as engine:
            fill(engine, symbols)
            ours, raw = (best(engine, how) for how in (read, drain))
            took[symbols] = ours
            rows = f"{symbols * SESSIONS:,}"
            yield Ratio(f"prices: read {rows} closes", ours, raw, "COPY out", at_most=1)
            if symbols == SYMBOLS:
                url = database.url_of(engine)
                names = ("matrix", "pandas")
                peak = {n: alone.run("peak_mb", "benchmarks.prices", url=url, how=n) for n in names}
                against = "pandas.read_sql"
                yield Ratio(
                    "prices: memory added", peak["matrix"], peak["pandas"], against, unit="MB"
                )
    yield table.growth("prices: growth, exponent of the rows", took)


def fill(engine: Engine, symbols: int) -> None:
    """Store the closes to be read."""
    ids = database.universe(engine, symbols)
    bars = [database.walk(symbol, SESSIONS, seed) for seed, symbol in enumerate(ids)]
    with engine.begin() as connection:
        stored_prices.upsert(connection, bars, ids)
    settle(engine)


def read(connection: Connection) -> None:
    """Our way: a frame of sessions and symbols."""
    closes = stored_prices.load_closes(connection, assets.list_assets(connection), FIRST, LAST)
    if int(np.isfinite(closes.to_numpy()).sum()) != closes.shape[1] * SESSIONS:
        raise SystemExit("closes are missing")


def drain(connection: Connection) -> None:
    """The floor: every row out of the server and to nowhere."""
    query = "copy (select asset_id, session, close from prices) to stdout (format binary)"
    with connection.connection.cursor() as cursor, cursor.copy(query) as copy:  # type: ignore[attr-defined]
        for _ in copy:
            pass


def with_pandas(connection: Connection) -> None:
    """What one would write without a thought."""
    rows = pd.read_sql(text("select asset_id, session, close from prices"), connection)
    rows.pivot(index="session", columns="asset_id", values="close")


def best(engine: Engine, how: Callable[[Connection], None]) -> float:
    """The best time of several."""
    seconds = []
    for _ in range(ROUNDS):
        with engine.connect() as connection, timed() as took:
            how(connection)
        seconds += took
    return min(seconds)


def peak_mb(url: str, how: str) -> float:
    """What one reading adds to this process's peak."""
    ways = {"matrix": read, "pandas": with_pandas}
    with create_engine(url).connect() as connection:
        # The first session of the calendar loads all of it: not what is measured.
        stored_prices.load_closes(connection, assets.list_assets(connection)[:1], LAST, LAST)
        with memory.added_mb() as added:
            ways[how](connection)
        return added[0]


if __name__ == "__main__":
    sys.exit(table.main(ratios))
