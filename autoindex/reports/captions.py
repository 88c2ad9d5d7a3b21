"""What stands over the charts that compare: since when, and where the benchmark's line begins."""

from typing import Final

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
    return f"The index starts at {start}{_joining(content, 0)}, {scale}"


def recent(content: ReportContent) -> str:
    """Over `charts.recent`: since when, and from when on the benchmark."""
    start = charts.recent_start(content)
    span = "over the last five years" if start else "since inception"
    return f"Return {span}{_joining(content, start)}"


def period(content: ReportContent) -> str:
    """Over `charts.period`: since when, and from when on the benchmark."""
    start = charts.period_start(content)
    since = day(content.series.sessions[start])
    return f"Return from the close of {since}{_joining(content, start)}"


def drawdown(content: ReportContent) -> str:
    """Over `charts.drawdown`: a high from before the benchmark's first close is not known."""
    first = charts.benchmark_start(content, 0)
    if not first:
        return _HIGHS
    return f"{_HIGHS}; of the benchmark since {day(content.series.sessions[first])}"


def _joining(content: ReportContent, start: int) -> str:
    """Where the benchmark's line begins later than the index's; nothing where it does not."""
    first = charts.benchmark_start(content, start)
    if first is None or first == start:
        return ""
    joins = day(content.series.sessions[first])
    return f"; the benchmark begins on {joins}, at the index's value"
