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
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import numpy as np
from sqlalchemy import Engine, text

from autoindex.storage import assets, cleanup, prices
from autoindex.storage.assets import Asset
from autoindex.storage.cleanup import Removed
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
    say(f"{len(quiet)} reads without, {len(busy)} beside a clean-up of {took[0]:.0f} s")
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
            prices.upsert(connection, bars, ids)
    settle(engine)
    kept: date = bars[0].sessions[REMOVED_SESSIONS].item()
    return kept


def clean(engine: Engine, older_than: date, folder: str) -> list[Removed]:
    """The clean-up as the flow asks for it."""
    return cleanup.clean(
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


class Reader(Thread):
    """Reads over and over, and keeps how long each read took."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.enough = Event()
        self._engine = engine
        with engine.connect() as connection:
            self._universe = assets.list_assets(connection)

    def run(self) -> None:
        """Read until it is enough."""
        for number in count():
            if self.enough.is_set():
                return
            with timed() as took:
                self._read(self._universe[number % SYMBOLS :][:READ_SYMBOLS])
            self.seconds += took
            time.sleep(0.01)

    def _read(self, some: Sequence[Asset]) -> None:
        with self._engine.connect() as connection:
            prices.load_closes(connection, some, LAST - timedelta(days=365), LAST)
            prices.newest_sessions(connection, self._universe)


def reads_beside(engine: Engine, work: Callable[[], None]) -> list[float]:
    """Seconds of every read while something else goes on."""
    reader = Reader(engine)
    reader.start()
    try:
        work()
    finally:
        reader.enough.set()
        reader.join()
    return reader.seconds


def p(percent: float, busy: Sequence[float], quiet: Sequence[float]) -> tuple[float, float]:
    """The same percentile of both."""
    return float(np.percentile(busy, percent)), float(np.percentile(quiet, percent))


if __name__ == "__main__":
    sys.exit(table.main(ratios))
