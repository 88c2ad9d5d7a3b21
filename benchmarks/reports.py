"""How long a report takes: every format, beside quantstats' HTML tear sheet on the same series.

    python -m benchmarks.reports

Each is timed warm, in its own process, so that the peak memory is its own. The series is the
sandbox's: 33 years of an equally weighted index of twenty stocks.
"""

import logging
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

import sandbox
from autoindex.reports import files
from autoindex.reports.compose import compose
from autoindex.reports.inputs import AssetFacts, ReportInputs
from autoindex.requests import ReportFormat, ReportType
from benchmarks import alone, table
from benchmarks.table import Ratio

TARGET_RATIO = 0.25
MEMORY_MB = 300
_ROUNDS = 3
_DATA = Path(sandbox.__file__).parent / "data"


def closes_and_benchmark() -> tuple[pd.DataFrame, "pd.Series[float]"]:
    """The sandbox's prices."""
    closes, benchmark = (
        pd.read_csv(_DATA / name, index_col="Date", parse_dates=["Date"])
        for name in ("sp500_20_closes.csv.gz", "sp500_index.csv.gz")
    )
    return closes, benchmark["SP500"]


def inputs() -> ReportInputs:
    """A monthly report's inputs over the sandbox's whole history."""
    closes, benchmark = closes_and_benchmark()
    months = pd.DatetimeIndex(closes.index).to_period("M")
    rebalances = closes.index[~months.duplicated()]
    level = pd.Series([100.0], closes.index[:1])
    units = []
    for start, end in zip(rebalances, [*rebalances[1:], closes.index[-1]], strict=True):
        held = level.iloc[-1] / closes.shape[1] / closes.loc[start]
        units.append(held)
        level = pd.concat([level, (closes.loc[start:end] * held).sum(axis=1).iloc[1:]])
    return ReportInputs(
        report_type=ReportType.MONTHLY,
        levels=level,
        benchmark=benchmark,
        benchmark_name="S&P 500",
        weights=pd.DataFrame(1.0 / closes.shape[1], rebalances, closes.columns),
        units=pd.DataFrame(units, rebalances),
        closes=closes,
        assets={symbol: AssetFacts(symbol, "Sector") for symbol in closes.columns},
        metrics={},
        generated_at=datetime(2022, 12, 28, 22, tzinfo=UTC),
        currency="USD",
    )


def quantstats(folder: Path) -> Callable[[], object]:
    """The tear sheet that quantstats makes of the same series."""
    warnings.simplefilter("ignore")
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    # It asks for a font that few machines have, and says so several hundred times.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    import quantstats as qs  # noqa: PLC0415

    made = inputs()
    assert made.benchmark is not None  # noqa: S101
    returns = made.levels.pct_change().iloc[1:]
    benchmark = made.benchmark.pct_change().iloc[1:]
    output = str(folder / "tearsheet.html")
    return lambda: qs.reports.html(returns, benchmark=benchmark, output=output, title="Index")


def ours(report_format: ReportFormat, folder: Path) -> Callable[[], object]:
    """One of our formats, from inputs to file."""
    made = inputs()
    path = folder / "report"
    return lambda: files.write(compose(made), report_format, path)


def measure(subject: str) -> dict[str, float]:
    """Seconds of the first and of the best warm round, and the peak memory of this process."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        run = quantstats(place) if subject == "quantstats" else ours(ReportFormat(subject), place)
        seconds = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first": seconds[0], "warm": min(seconds[1:]), "peak_mb": peak}


def ratios() -> Iterator[Ratio]:
    """Every format beside the tear sheet, and the memory of the PDF."""
    subjects = ("quantstats", *(kind.value for kind in ReportFormat))
    took = {one: alone.run("measure", "benchmarks.reports", subject=one) for one in subjects}
    sheet = took.pop("quantstats")["warm"]
    for name, row in took.items():
        target = TARGET_RATIO if name == "pdf" else None
        yield Ratio(f"report: {name}, warm", row["warm"], sheet, "quantstats", at_most=target)
    peak = took["pdf"]["peak_mb"]
    yield Ratio("report: pdf, peak memory", peak, MEMORY_MB, "limit", unit="MB", at_most=1)


if __name__ == "__main__":
    sys.exit(table.main(ratios))
