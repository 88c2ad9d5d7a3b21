"""What a compute run's work takes for one new session, after a long history and a short one.

    python -m benchmarks.one_session

The monthly composite over 500 symbols, published for 5,040 sessions (20 years) and for a quarter of
them. Then a session at a time is added and computed: what the flow's tasks do, reading, computing,
storing. Measured is the processor time of this process. Rounds alternate, and the best of each part
counts. The work should not depend on the history.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from prefect.logging import disable_run_logger
from sqlalchemy import Engine

from autoindex.requests import ComputeIndexRequest
from autoindex.storage import cache
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets
from benchmarks import compute, database, panels, processor_time, stored, table
from benchmarks.panels import Panel
from benchmarks.table import Ratio
from flows import compute_index as flow
from flows.attempts.runtime import Runtime

SYMBOLS = 500
LENGTHS = (panels.SESSIONS, panels.SESSIONS // 4)
ROUNDS = 8
REQUEST = ComputeIndexRequest()
_PARTS = ("read", "compute", "store")
# The longer history may cost what its pages cost to find.
AT_MOST = 1.3
SECONDS = 0.06


def ratios() -> Iterator[Ratio]:
    """Each part and all of them after the long history, beside the short one."""
    took: dict[int, list[dict[str, float]]] = {length: [] for length in LENGTHS}
    with ExitStack() as stack, disable_run_logger():
        indexes = {length: stack.enter_context(published(length)) for length in LENGTHS}
        for number in range(ROUNDS):
            for length, (run, panel) in indexes.items():
                add(run.engine, panel, length + number)
                took[length].append(work(run))
    long, short = (
        {part: min(one[part] for one in rounds) for part in _PARTS} for rounds in took.values()
    )
    for part in _PARTS:
        yield Ratio(f"one session: {part}", long[part], short[part], "a quarter of the history")
    whole, quarter = (sum(best.values()) for best in (long, short))
    yield Ratio("one session: all", whole, quarter, "a quarter of the history", at_most=AT_MOST)
    yield Ratio("one session: all", whole, SECONDS, "limit", at_most=1)


@contextmanager
def published(length: int) -> Iterator[tuple[Runtime, Panel]]:
    """An index with levels of so many sessions, and a panel that goes on."""
    panel = Panel.made(SYMBOLS, length + ROUNDS)
    with database.empty() as engine:
        stored.store(engine, until(panel, length))
        settings = compute.settings_of(engine)
        now = datetime.now(UTC)
        run = Runtime(settings, engine, cache.from_settings(settings), now, uuid4())
        work(run)
        yield run, panel


def until(panel: Panel, length: int) -> Panel:
    """The first sessions of a panel."""
    return replace(panel, closes=panel.closes.iloc[:length], market=panel.market.iloc[:length])


def add(engine: Engine, panel: Panel, row: int) -> None:
    """Store one session of a panel."""
    closes, market = panel.closes.iloc[row : row + 1], panel.market.iloc[row : row + 1]
    with engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        for some in stored.loads(replace(panel, closes=closes, market=market)):
            stored_prices.upsert(connection, some, ids)


def work(run: Runtime) -> dict[str, float]:
    """Seconds of processor time of what the flow's tasks do."""
    with processor_time.own() as read:
        loaded = flow.load_prices.fn(run, REQUEST)
    with processor_time.own() as computing:
        computed = compute.compute(loaded, REQUEST)
    with processor_time.own() as storing:
        flow.store.fn(run, REQUEST, loaded, computed)
    return dict(zip(_PARTS, (*read, *computing, *storing), strict=True))


if __name__ == "__main__":
    sys.exit(table.main(ratios))
