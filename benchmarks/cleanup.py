"""How long readers wait while 5,000,000 rows are cleaned up, beside the same reads without.

    python -m benchmarks.cleanup

1,200 symbols × 5,040 sessions are stored, symbol by symbol as refreshes store them; all but the
last 873 sessions go. A reader reads a year of 20 symbols' closes and the newest session of every
symbol, over and over; its slowest hundredth counts. What an archived row costs is set beside a raw
COPY of the same rows out, and a DELETE of them.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy import Engine, create_engine, text

from autoindex.storage.prices import stored_prices
from autoindex.storage.retention import deletion
from autoindex.storage.retention.deletion import Removed
from autoindex.storage.universe import assets
from autoindex.storage.universe.assets import Asset
from benchmarks import database, table
from benchmarks.table import Ratio, say
from benchmarks.upsert import settle, timed

SYMBOLS = 1_200
SESSIONS = 5_040
REMOVED_SESSIONS = 4_167
READ_SYMBOLS = 20
QUIET_SECONDS = 30.0
P99_TARGET = 3.0
LAST = date.fromisoformat(database.LAST_SESSION)
_SYMBOLS_A_LOAD = 100


def ratios() -> Iterator[Ratio]:
    """The slowest reads with and without, the whole beside raw statements, and its memory."""
    with database.empty() as engine, TemporaryDirectory() as folder:
        older_than = fill(engine)
        raw = raw_copy_and_delete(engine, older_than)
        quiet = reads_beside(engine, lambda: time.sleep(QUIET_SECONDS))
        done: list[Removed] = []
        with timed() as took:
            busy = reads_beside(engine, lambda: done.extend(clean(engine, older_than, folder)))
        check(engine, done)
    say(f"{len(quiet)} reads without, {len(busy)} beside a cleanup of {took[0]:.0f} s")
    yield Ratio("cleanup: p99 of a read", *p(99, busy, quiet), "without", at_most=P99_TARGET)
    yield Ratio("cleanup: median of a read", *p(50, busy, quiet), "without")
    yield Ratio("cleanup: slowest read", *p(100, busy, quiet), "without")
    yield Ratio("cleanup: 5,000,400 rows", took[0], raw, "COPY out and DELETE")


def fill(engine: Engine) -> date:
    """Store the prices; the first day that is kept."""
    ids = database.universe(engine, SYMBOLS)
    symbols = list(ids)
    for start in range(0, SYMBOLS, _SYMBOLS_A_LOAD):
        some = symbols[start : start + _SYMBOLS_A_LOAD]
        bars = [database.walk(symbol, SESSIONS, ids[symbol]) for symbol in some]
        with engine.begin() as connection:
            stored_prices.upsert(connection, bars, ids)
    settle(engine)
    kept: date = bars[0].sessions[REMOVED_SESSIONS].item()
    return kept


def clean(engine: Engine, older_than: date, folder: str) -> list[Removed]:
    """The cleanup as the flow asks for it."""
    return deletion.clean(
        engine,
        types=["prices"],
        older_than=older_than,
        archive_url=Path(folder).as_uri(),
        dry_run=False,
    )


def check(engine: Engine, done: Sequence[Removed]) -> None:
    """Stop where it did not do what is measured."""
    rows = SYMBOLS * REMOVED_SESSIONS
    with engine.connect() as connection:
        left = connection.execute(text("select count(*) from prices")).scalar_one()
    (removed,) = done
    if (removed.archived, removed.deleted) != (rows, rows) or left != SYMBOLS * SESSIONS - rows:
        raise SystemExit(f"not what was to be removed: {removed}, {left} left")


def raw_copy_and_delete(engine: Engine, older_than: date) -> float:
    """Seconds of one COPY out and one DELETE of the same rows, rolled back."""
    out = "copy (select * from prices where session < %s) to stdout (format binary)"
    with timed() as took, engine.connect() as connection:
        with connection.connection.cursor() as cursor, cursor.copy(out, [older_than]) as copy:  # type: ignore[attr-defined]
            for _ in copy:
                pass
        gone = text("delete from prices where session < :day")
        connection.execute(gone, {"day": older_than})
        connection.rollback()
    settle(engine)
    return took[0]


def read_until(enough: Event, url: str, seconds: Connection) -> None:
    """Read over and over in this process; how long each read took."""
    engine = create_engine(url)
    with engine.connect() as connection:
        universe = assets.list_assets(connection)
    taken: list[float] = []
    for number in count():
        if enough.is_set():
            break
        with timed() as took:
            read(engine, universe, universe[number % SYMBOLS :][:READ_SYMBOLS])
        taken += took
        time.sleep(0.01)
    seconds.send(taken)


def read(engine: Engine, universe: Sequence[Asset], some: Sequence[Asset]) -> None:
    """What a report and the next refresh would ask for."""
    with engine.connect() as connection:
        stored_prices.load_closes(connection, some, LAST - timedelta(days=365), LAST)
        stored_prices.newest_sessions(connection, universe)


def reads_beside(engine: Engine, work: Callable[[], None]) -> list[float]:
    """Seconds of every read of another process, as readers are, while something else goes on."""
    spawn = get_context("spawn")
    enough, (here, there) = spawn.Event(), spawn.Pipe(duplex=False)
    url = engine.url.render_as_string(hide_password=False)
    reader = spawn.Process(target=read_until, args=(enough, url, there))
    reader.start()
    there.close()
    try:
        work()
    finally:
        enough.set()
    taken: list[float] = here.recv()
    reader.join()
    return taken


def p(percent: float, busy: Sequence[float], quiet: Sequence[float]) -> tuple[float, float]:
    """The same percentile of both."""
    return float(np.percentile(busy, percent)), float(np.percentile(quiet, percent))


if __name__ == "__main__":
    sys.exit(table.main(ratios))
