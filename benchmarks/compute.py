"""How long a compute run's work takes from PostgreSQL and back, and what memory a large one takes.

    python -m benchmarks.compute

The weekly composite over 5,040 sessions (20 years) of 500 symbols, of a quarter and half of them:
what the flow's tasks do, reading closes, computing levels, weights and metrics, storing them. The
floors, summed: a raw binary COPY of the closes out, to a reader that throws them away; the index in
plain NumPy and empyrical's functions on returns cut beforehand; a raw binary COPY of the same
levels and allocations into empty copies of their tables. Rounds alternate, the best of each counts.

Then the flow itself, on 3,000 symbols (15,120,000 bars) and once more where symbols are listed
late, are delisted and have gaps, in a process of its own whose memory is sampled from outside.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import numpy as np
import pandas as pd
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, Engine, text

from autoindex.requests import ComputeIndexRequest, Frequency, Strategy
from autoindex.settings import Settings
from autoindex.storage import cache
from autoindex.storage.index.computation_input import ComputationInput
from autoindex.storage.postgres import binary_copy
from benchmarks import database, own_memory, panels, stored, table
from benchmarks import index as in_memory
from benchmarks import prices as reading
from benchmarks.panels import Panel
from benchmarks.table import Ratio, say
from benchmarks.upsert import timed
from flows import compute_index as flow
from flows.attempts.runtime import Runtime
from flows.compute_index import Computed

SIZES = (125, 250, 500)
LARGE = 3_000
ROUNDS = 3
AT_MOST = 2.0
LIMIT_MB = 512
REQUEST = ComputeIndexRequest(strategy=Strategy.COMPOSITE, frequency=Frequency.WEEKLY)
_TABLES = ("index_levels", "allocations")
_PARTS = ("read", "compute", "store")


def ratios() -> Iterator[Ratio]:
    """Each size beside its floors, the largest one split, growth; then the memory of the flow."""
    took = {}
    for symbols in SIZES:
        panel = Panel.made(symbols)
        with database.empty() as engine:
            stored.store(engine, panel)
            parts = beside_floors(engine, panel)
        took[symbols] = sum(ours for ours, _ in parts.values())
        floors = sum(floor for _, floor in parts.values())
        if symbols == SIZES[-1]:
            for name, (ours, floor) in parts.items():
                yield Ratio(f"compute: {symbols} symbols, {name}", ours, floor, "its floor")
        what = f"compute: {symbols} symbols, all"
        yield Ratio(what, took[symbols], floors, "summed floors", at_most=AT_MOST)
    yield table.growth("compute: growth, exponent of symbols", took)
    for what, made in (("3,000 symbols", Panel.made), ("3,000 with gaps", gappy)):
        used = memory_of_flow(made(LARGE))
        say(f"{what}: the flow took {used.seconds:.0f} s, its memory was read {used.samples} times")
        name = f"compute: flow, {what}, own memory"
        yield Ratio(name, used.peak_mb, LIMIT_MB, "limit", unit="MB", at_most=1)
        name = f"compute: flow, {what}, with shared memory"
        yield Ratio(name, used.resident_mb, LIMIT_MB, "limit", unit="MB")


def gappy(symbols: int) -> Panel:
    """The same: six in ten listed late, one in five delisted, one bar in 2,000 missing."""
    panel = Panel.made(symbols)
    random = np.random.default_rng(20_221_229)
    values = panel.closes.to_numpy().copy()
    for column in range(symbols):
        kind, day = random.random(), random.integers(1, len(values))
        if kind < 0.6:
            values[:day, column] = np.nan
        elif kind < 0.8:
            values[day:, column] = np.nan
    values[random.random(values.shape) < 1 / 2_000] = np.nan
    closes = pd.DataFrame(values, panel.closes.index, panel.closes.columns, copy=False)
    return Panel(closes, panel.shares, panel.market)


def beside_floors(engine: Engine, panel: Panel) -> dict[str, tuple[float, float]]:
    """Best seconds of each part of the flow's work and of its floor."""
    run = Runtime(
        settings_of(engine), engine, cache.from_settings(Settings()), datetime.now(UTC), uuid4()
    )
    rounds = []
    with disable_run_logger():
        for _ in range(ROUNDS):
            ours, computed = work(run)
            rounds.append((ours, floors(engine, panel, computed)))
    check(engine, computed)
    return {
        part: (min(ours[part] for ours, _ in rounds), min(floor[part] for _, floor in rounds))
        for part in _PARTS
    }


def work(run: Runtime) -> tuple[dict[str, float], Computed]:
    """Seconds of what the flow's tasks do, computing everything anew; and what they computed."""
    with run.engine.begin() as connection:
        connection.execute(text(f"truncate {', '.join(_TABLES)}, metrics"))
    with timed() as read:
        loaded = flow.load_prices.fn(run, REQUEST)
    with timed() as computing:
        computed = compute(loaded)
    with timed() as storing:
        flow.store.fn(run, REQUEST, loaded, computed)
    return dict(zip(_PARTS, (*read, *computing, *storing), strict=True)), computed


def compute(loaded: ComputationInput, request: ComputeIndexRequest = REQUEST) -> Computed:
    """What the flow's task computes."""
    computed = flow.compute.fn(loaded, request)
    if computed is None:
        raise SystemExit("somebody else has changed the data")
    return computed


def floors(engine: Engine, panel: Panel, computed: Computed) -> dict[str, float]:
    """Seconds of the least there is to do."""
    with engine.connect() as connection, timed() as read:
        reading.drain(connection)
    closes, shares = panel.closes.to_numpy(), panel.shares.to_numpy()
    alone = in_memory.library_alone(computed.levels, panel.market)
    with timed() as computing:
        panels.floor(closes, shares, panel.decisions())
        alone()
    with engine.begin() as connection:
        raw = prepared(connection, computed)
    with timed() as storing, engine.begin() as connection:
        for name, arrays in raw.items():
            binary_copy.load(connection, f"raw_{name}", arrays)
    return dict(zip(_PARTS, (*read, *computing, *storing), strict=True))


def prepared(connection: Connection, computed: Computed) -> dict[str, database.Columns]:
    """Empty copies of the tables, without triggers, and the arrays to COPY into them."""
    for name in _TABLES:
        connection.execute(text(f"drop table if exists raw_{name}"))
        connection.execute(text(f"create table raw_{name} (like {name} including all)"))
    return columns(computed)


def columns(computed: Computed) -> dict[str, database.Columns]:
    """Levels and allocations as columns of their tables."""
    levels, held = computed.series.levels, computed.series.held
    rebalances = np.concatenate([np.repeat(part.sessions, part.counts) for part in held])
    return {
        "index_levels": {
            **which(len(levels)),
            "session": levels.index.to_numpy().astype("datetime64[D]"),
            "level": levels.to_numpy(),
        },
        "allocations": {
            **which(len(rebalances)),
            "session": rebalances,
            **{
                name: np.concatenate([part.columns[name] for part in held])
                for name in held[0].columns
            },
        },
    }


def which(length: int) -> database.Columns:
    """The columns that name the index."""
    return {
        "strategy": binary_copy.repeated(REQUEST.strategy, length),
        "frequency": binary_copy.repeated(REQUEST.frequency, length),
    }


def check(engine: Engine, computed: Computed) -> None:
    """Stop where not all was stored that the floor stored."""
    with engine.connect() as connection:
        for name in _TABLES:
            count = text(f"select (select count(*) from {name}), (select count(*) from raw_{name})")  # noqa: S608
            stored_rows, raw_rows = connection.execute(count).one()
            if stored_rows != raw_rows or stored_rows < len(computed.levels):
                raise SystemExit(f"{name}: {stored_rows} rows were stored, {raw_rows} raw")


def settings_of(engine: Engine) -> Settings:
    """Settings of a database, and of no other part."""
    return Settings(database_url=database.url_of(engine))


def memory_of_flow(panel: Panel, frequency: str = "weekly") -> own_memory.Used:
    """The flow itself, in a process of its own, on a panel that is in a database only."""
    with database.empty() as engine, TemporaryDirectory() as folder:
        stored.store(engine, panel)
        del panel
        settings = settings_of(engine).model_copy(update={"data_dir": Path(folder)})
        used = own_memory.of_flow(
            settings, "flows.compute_index", "compute_index", frequency=frequency
        )
        with engine.connect() as connection:
            levels = connection.execute(text("select count(*) from index_levels")).scalar_one()
        if levels < panels.SESSIONS - panels.LOOKBACK:
            raise SystemExit(f"the flow stored {levels} levels")
        return used


if __name__ == "__main__":
    sys.exit(table.main(ratios))
