"""What a published past costs: a computation that can be asked back, and the storage of versions.

    python -m benchmarks.versions

The weekly composite over 5,040 sessions of 250 symbols is stored as the flow does it, with its
publication, and as plain rows of the same tables. Processor time of both, PostgreSQL's included, is
added to that of reading and computing. Rounds alternate, the best of each counts.

Then a daily index of 100 symbols over 1,320 sessions. In each of its last 12 weeks a close of eight
sessions before is corrected, and each session is computed on its evening. The storage of what was
replaced and of the record of publications is compared with that of the index.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, insert, text

from autoindex.requests import ComputeIndexRequest, Frequency, Strategy
from autoindex.storage import cache
from autoindex.storage.postgres import binary_copy
from autoindex.storage.prices import stored_prices
from autoindex.storage.tables import metrics
from autoindex.storage.universe import assets
from benchmarks import compute, database, one_session, processor_time, stored, table
from benchmarks.panels import Panel
from benchmarks.table import Ratio, say
from flows import compute_index as flow
from flows.attempts.runtime import Runtime
from flows.compute_index import Computed

SYMBOLS, ROUNDS, AT_MOST = 250, 6, 1.1
KEPT_SYMBOLS, KEPT_SESSIONS, CORRECTED, STORAGE_AT_MOST = 100, 1_320, 60, 1.3
WEEK, AGE = 5, 8
DAILY = ComputeIndexRequest(strategy=Strategy.COMPOSITE, frequency=Frequency.DAILY)
WEEKLY = {"strategy": compute.REQUEST.strategy, "frequency": compute.REQUEST.frequency}
_INDEX = ("index_levels", "allocations", "metrics")
_PAST = (
    "publications",
    "superseded_levels",
    "superseded_allocations",
    "superseded_metrics",
    "corrections",
)


def ratios() -> Iterator[Ratio]:
    """Processor time with and without versions; then storage."""
    with disable_run_logger():
        with database.empty() as engine:
            stored.store(engine, Panel.made(SYMBOLS))
            took = beside_plain(runtime(engine))
        computing = min(took["compute"])
        ours, plain = (computing + min(took[name]) for name in ("store", "plain"))
        what = "versions: a computation"
        yield Ratio(what, ours, plain, "without versions", at_most=AT_MOST)
        with database.empty() as engine:
            correct_each_week(runtime(engine))
            sizes = stored_mb(engine)
    for name, size in sizes.items():
        say(f"{name}: {size:.2f} MB")
    index = sum(sizes[name] for name in _INDEX)
    whole = index + sum(sizes[name] for name in _PAST)
    what = "versions: storage"
    yield Ratio(what, whole, index, "without versions", unit="MB", at_most=STORAGE_AT_MOST)


def runtime(engine: Engine) -> Runtime:
    """What a flow has, on a database alone."""
    settings = compute.settings_of(engine)
    return Runtime(settings, engine, cache.from_settings(settings), datetime.now(UTC), uuid4())


def beside_plain(run: Runtime) -> dict[str, list[float]]:
    """Seconds of reading and computing, and of storing both ways."""
    took: dict[str, list[float]] = {"compute": [], "store": [], "plain": []}
    for _ in range(ROUNDS):
        empty(run.engine)
        with processor_time.with_server(run.engine) as computing:
            loaded = flow.load_prices.fn(run, compute.REQUEST)
            computed = compute.compute(loaded)
        with processor_time.with_server(run.engine) as storing:
            flow.store.fn(run, compute.REQUEST, loaded, computed)
        rows = counted(run.engine)
        empty(run.engine)
        with processor_time.with_server(run.engine) as plain:
            store_plainly(run.engine, computed)
        if counted(run.engine) != rows:
            raise SystemExit("both ways must store the same rows")
        for name, seconds in zip(took, (computing, storing, plain), strict=True):
            took[name] += seconds
    return took


def empty(engine: Engine) -> None:
    """Empty the tables of the index."""
    with engine.begin() as connection:
        connection.execute(text(f"truncate {', '.join(_INDEX)}"))


def counted(engine: Engine) -> Mapping[str, int]:
    """The rows of the index's tables."""
    with engine.connect() as connection:
        return {
            name: connection.execute(text(f"select count(*) from {name}")).scalar_one()  # noqa: S608
            for name in _INDEX
        }


def store_plainly(engine: Engine, computed: Computed) -> None:
    """Levels, allocations and metrics as rows, and nothing of how they came about."""
    with engine.begin() as connection:
        columns = compute.columns(computed)
        held = columns["allocations"]
        # In as many pieces as ours.
        pieces = len(computed.series.held)
        for rows in np.array_split(np.arange(len(held["session"])), pieces):
            part = {name: column[rows] for name, column in held.items()}
            binary_copy.load(connection, "allocations", part)
        binary_copy.load(connection, "index_levels", columns["index_levels"])
        for day, windows in computed.metrics.items():
            values = {name: dict(window) for name, window in windows.items()}
            row = {"session": day, "values": values}
            connection.execute(insert(metrics).values(row | WEEKLY))


def correct_each_week(run: Runtime) -> None:
    """Publish an index; then a session at a time, and a correction each week."""
    panel = Panel.made(KEPT_SYMBOLS, KEPT_SESSIONS)
    begin = KEPT_SESSIONS - CORRECTED
    stored.store(run.engine, one_session.until(panel, begin))
    publish(run)
    for row in range(begin, KEPT_SESSIONS):
        one_session.add(run.engine, panel, row)
        if (row - begin) % WEEK == 0:
            correct(run.engine, panel, row - AGE, (row - begin) // WEEK)
        publish(run)


def publish(run: Runtime) -> None:
    """Compute and store what is new and what is due."""
    loaded = flow.load_prices.fn(run, DAILY)
    flow.store.fn(run, DAILY, loaded, compute.compute(loaded, DAILY))


def correct(engine: Engine, panel: Panel, row: int, column: int) -> None:
    """Store another close of one symbol and session."""
    closes = panel.closes.iloc[row : row + 1, column : column + 1] * 1.01
    market = panel.market.iloc[row : row + 1]
    with engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        for some in stored.loads(replace(panel, closes=closes, market=market)):
            stored_prices.upsert(connection, some, ids)


def stored_mb(engine: Engine) -> dict[str, float]:
    """What rows and indexes of each table take, without the space of removed rows."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in (*_INDEX, *_PAST):
            connection.execute(text(f"vacuum full {name}"))
        size = text("select pg_total_relation_size(cast(:name as regclass))")
        return {
            name: connection.execute(size, {"name": name}).scalar_one() / 2**20
            for name in (*_INDEX, *_PAST)
        }


if __name__ == "__main__":
    sys.exit(table.main(ratios))
