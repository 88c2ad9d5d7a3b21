"""How long the index takes from arrays in memory to levels and weights.

    python -m benchmarks.index

The composite, weekly, over 5,040 sessions (20 years) of 500 symbols, of a quarter and half of
them, and of 3,000. Beside it a floor in plain NumPy that does the arithmetic and nothing else; bt
on a tenth of the sessions, and vectorbt where it is installed: both are handed our weights and
only have to work out levels. Rounds alternate, the best of each counts.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from autoindex.index import metrics as measured
from autoindex.index.compute import IndexSeries, compute
from autoindex.index.shares import ShareCount
from autoindex.requests import Frequency, Strategy
from benchmarks import panels, rivals, table
from benchmarks.panels import Panel
from benchmarks.table import Ratio

SIZES = (125, 250, 500)
LARGE = 3_000
ROUNDS = 7


def ratios() -> Iterator[Ratio]:
    """Each size beside the floor, growth, other libraries, and the metrics apart."""
    panels_of = {symbols: Panel.made(symbols) for symbols in SIZES}
    for symbols, panel in panels_of.items():
        ours, floor = beside_floor(panel)
        yield Ratio(f"index: {symbols} symbols", ours, floor, "NumPy floor", at_most=1.5)
    # Once more, the sizes taking turns, so that a busy moment hits them all.
    seconds = alternating(*(partial(index_of, panel) for panel in panels_of.values()))
    yield table.growth("index: growth, exponent of symbols", dict(zip(SIZES, seconds, strict=True)))
    panel = panels_of[SIZES[-1]]
    yield from beside_libraries(panel, seconds[-1])
    yield from of_metrics(panel)
    ours, floor = beside_floor(Panel.made(LARGE), rounds=3)
    yield Ratio(f"index: {LARGE:,} symbols", ours, floor, "NumPy floor", at_most=1.5)


def beside_floor(panel: Panel, rounds: int = ROUNDS) -> tuple[float, float]:
    """Seconds of ours and of the floor."""
    closes, shares = panel.closes.to_numpy(), panel.shares.to_numpy()
    at = panel.decisions()
    ours = index_of(panel)
    levels, _ = panels.floor(closes, shares, at)
    if len(levels) != len(ours.levels) or len(at) != len(ours.weights):
        raise SystemExit("the floor computes another index")
    took = alternating(
        lambda: index_of(panel), lambda: panels.floor(closes, shares, at), rounds=rounds
    )
    return took[0], took[1]


def index_of(panel: Panel) -> IndexSeries:
    """Our index."""
    return compute(
        panel.closes,
        strategy=Strategy.COMPOSITE,
        frequency=Frequency.WEEKLY,
        shares=[ShareCount(str(symbol), count) for symbol, count in panel.shares.items()],
    )


def beside_libraries(panel: Panel, whole: float) -> Iterator[Ratio]:
    """Beside `vectorbt` on everything and `bt` on a tenth of the sessions."""
    levels_by = rivals.vectorbt_levels()
    if levels_by is None:
        table.say("vectorbt is not installed: no comparison with it")
    else:
        ours = index_of(panel)
        agree(ours, levels_by(panel.closes, ours.weights))
        theirs = best(lambda: levels_by(panel.closes, ours.weights), rounds=3)
        yield Ratio("index: 500 symbols", whole, theirs, "vectorbt", at_most=0.2)
    tenth = Panel(panel.closes.iloc[-504:], panel.shares, panel.market)
    ours = index_of(tenth)
    theirs = best(lambda: agree(ours, rivals.bt_levels(tenth.closes, ours.weights)), rounds=1)
    took = best(lambda: index_of(tenth))
    yield Ratio("index: 500 symbols, 504 sessions", took, theirs, "bt", at_most=0.01)


def agree(ours: IndexSeries, theirs: pd.Series) -> None:
    """Stop where another library comes to other levels."""
    scaled = theirs[ours.levels.index]
    scaled = scaled / scaled.iloc[0] * 100
    if not np.allclose(ours.levels, scaled, rtol=1e-6):
        raise SystemExit("another library computes another index")


def of_metrics(panel: Panel) -> Iterator[Ratio]:
    """All metrics of all windows, beside the library's functions on returns cut beforehand."""
    levels = index_of(panel).levels
    alone = library_alone(levels, panel.market)
    ours, theirs = alternating(lambda: measured.metrics(levels, panel.market), alone)
    yield Ratio("index: metrics, 7 windows", ours, theirs, "empyrical alone")


def library_alone(levels: pd.Series, market: pd.Series) -> Callable[[], None]:
    """What calls the library's functions on returns that are cut beforehand."""
    pairs = [_returns(levels, market, name) for name in measured.WINDOWS]

    def library() -> None:
        for returns, reference in pairs:
            for rule in rivals.EMPYRICAL:
                rule(returns)
            for rule in rivals.EMPYRICAL_RELATIVE:
                rule(returns, reference)

    return library


def _returns(levels: pd.Series, market: pd.Series, window: str) -> tuple[pd.Series, pd.Series]:
    first = measured.begin(levels, window)
    both = levels.iloc[first:], market[levels.index].iloc[first:]
    returns, reference = (series.pct_change().iloc[1:] for series in both)
    return returns, reference


def alternating(*ways: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, ...]:
    """Best seconds of each way; taking turns, so that a busy moment hits them all."""
    took = [[timed(way) for way in ways] for _ in range(rounds)]
    return tuple(map(min, zip(*took, strict=True)))


def best(way: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Best seconds of one way."""
    return min(timed(way) for _ in range(rounds))


def timed(way: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(table.main(ratios))
