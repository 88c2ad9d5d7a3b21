"""How long a page of allocations takes, the last one beside the first.

    python -m benchmarks.pages

A daily and a monthly index of 500 symbols over 5,040 sessions: 2,520,000 and 120,000 allocations,
in pages of 1,000. The best of a few rounds counts, and the target is twice the first page.
"""

import sys
from collections.abc import Iterator

from sqlalchemy import Engine

from autoindex.requests import Frequency, Strategy
from autoindex.storage.index import index_history
from autoindex.storage.index.index_history import Window
from benchmarks import database, split, table
from benchmarks.table import Ratio
from benchmarks.upsert import timed

ROUNDS = 5
PAGE = 1_000


def ratios() -> Iterator[Ratio]:
    """The last page of each index beside its first."""
    with database.empty() as engine:
        ids = database.universe(engine, split.SYMBOLS)
        bars = database.walk("S0250", split.SESSIONS, seed=1)
        split.fill(engine, bars, ids, (Strategy.COMPOSITE,))
        for frequency in (Frequency.DAILY, Frequency.MONTHLY):
            window = Window(Strategy.COMPOSITE, frequency)
            first, last = (page(engine, window, offset) for offset in (0, end(engine, window)))
            what = f"allocations: last page, {frequency}"
            yield Ratio(what, last, first, "the first", at_most=2)


def end(engine: Engine, window: Window) -> int:
    """Where the last page begins."""
    with engine.connect() as connection:
        total = index_history.weights(connection, window, limit=1, offset=0).total
    return (total - 1) // PAGE * PAGE


def page(engine: Engine, window: Window, offset: int) -> float:
    """Seconds that one page takes at best."""
    took: list[float] = []
    for _ in range(ROUNDS):
        with engine.connect() as connection, timed() as seconds:
            index_history.weights(connection, window, limit=PAGE, offset=offset)
        took += seconds
    return min(took)


if __name__ == "__main__":
    sys.exit(table.main(ratios))
