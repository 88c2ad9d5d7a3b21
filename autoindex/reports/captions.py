"""Captions of the charts with a benchmark: their first session, and the benchmark's."""

from typing import Final

from autoindex.reports import back_test
from autoindex.reports.content import ReportContent
from autoindex.reports.pdf import charts
from autoindex.reports.wording import day

_HIGHS: Final = "Below the highest close so far"


def growth(content: ReportContent) -> str:
    """`Both lines start at 100 on 2 Jan 1990, log scale`, where both do."""
    scale = "log scale" if charts.is_logarithmic(content) else "linear scale"
    start = f"{content.series.level[0]:g} on {day(content.inception)}"
    first = charts.benchmark_start(content, 0)
    if first is None:
        return f"From {start}, {scale}"
    if first == 0:
        return f"Both lines start at {start}, {scale}"
    return f"The index starts at {start}{_late_benchmark(content, 0)}, {scale}"


def recent(content: ReportContent) -> str:
    """The caption of `charts.recent`: since when, and since when the benchmark."""
    start = charts.recent_start(content)
    span = "over the last five years" if start else "since inception"
    return f"Return {span}{_late_benchmark(content, start)}"


def period(content: ReportContent) -> str:
    """The caption of `charts.period`: since when, and since when the benchmark."""
    start = charts.period_start(content)
    since = content.series.sessions[start]
    shaded = back_test.extent(content, since, content.period.last) in ("partly", "yes")
    return (
        f"Return from the close of {day(since)}{_late_benchmark(content, start)}"
        f"{'; shaded: back-tested' if shaded else ''}"
    )


def drawdown(content: ReportContent) -> str:
    """The caption of `charts.drawdown`: the benchmark has no high before its first close."""
    first = charts.benchmark_start(content, 0)
    if not first:
        return _HIGHS
    return f"{_HIGHS}; of the benchmark since {day(content.series.sessions[first])}"


def _late_benchmark(content: ReportContent, start: int) -> str:
    """Where the benchmark's line begins after the index's; empty where it does not."""
    first = charts.benchmark_start(content, start)
    if first is None or first == start:
        return ""
    joins = day(content.series.sessions[first])
    return f"; the benchmark begins on {joins}, at the index's value"
