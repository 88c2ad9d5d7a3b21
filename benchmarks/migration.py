"""How long the migration of an older install takes, and how long a read waits for it.

    python -m benchmarks.migration

A database of revision 0010 with 500 symbols, 1,000,000 prices, 50,000 allocations and 2,000 levels
gets every revision since. Meanwhile a process reads each table, again and again, as a facade does.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, text

from autoindex.storage import migrate
from benchmarks import table
from benchmarks.table import Ratio
from benchmarks.upsert import timed
from deployments.local.embedded_postgres import EmbeddedPostgres

BEFORE = "0010"
LIMIT_SECONDS = 60
LONGEST_WAIT_SECONDS = 1
_FILL = (
    "insert into assets (symbol, exchange, currency, name, role, active, shares_outstanding) "
    "select 'S' || n, 'NYSE', 'USD', 'Sample', 'constituent', true, 1000000 "
    "from generate_series(1, 500) n",
    "insert into prices (asset_id, session, open, high, low, close, volume) "
    "select id, date '2015-01-01' + n, 100, 101, 99, 100, 1000 "
    "from assets, generate_series(1, 2000) n",
    "insert into allocations select 'composite', 'monthly', date '2015-01-01' + 20 * n, id, "
    "0.002, 0.002 from assets, generate_series(1, 100) n",
    "insert into index_levels select 'composite', 'monthly', date '2015-01-01' + n, 100 "
    "from generate_series(1, 2000) n",
)
_READ = (
    "select symbol from assets limit 20",
    "select close from prices where asset_id = 7 order by session desc limit 20",
    "select weight from allocations where session = '2020-06-03' limit 20",
    "select level from index_levels order by session desc limit 20",
    "select count(*) from metrics",
)


def ratios() -> Iterator[Ratio]:
    """The migration, and the longest of all reads beside it."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        with EmbeddedPostgres(place / "pg", place / "run") as server:
            url = server.url("autoindex")
            migrate.create_database(url)
            engine = create_engine(url)
            fill(engine)
            reader = Reader(engine)
            with reader, timed() as seconds:
                migrate.upgrade(url)
            engine.dispose()
    yield Ratio("migration: all revisions", seconds[0], LIMIT_SECONDS, "limit", at_most=1)
    what = f"migration: the longest of {len(reader.took):,} reads"
    yield Ratio(what, max(reader.took), LONGEST_WAIT_SECONDS, "limit", at_most=1)


def fill(engine: Engine) -> None:
    """The tables of an older install, and their rows."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
        for statement in _FILL:
            connection.execute(text(statement))


class Reader:
    """Reads the tables in turn while it is entered; `took` are the seconds of each read."""

    def __init__(self, engine: Engine) -> None:
        self.took: list[float] = []
        self._engine = engine
        self._over = Event()
        self._thread = Thread(target=self._read)

    def _read(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not self._over.is_set():
                for query in _READ:
                    began = time.monotonic()
                    connection.execute(text(query)).all()
                    self.took.append(time.monotonic() - began)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


if __name__ == "__main__":
    sys.exit(table.main(ratios))
