"""What is back-tested in a report, and how the formats say it."""

from bisect import bisect_right
from datetime import date
from typing import Final, Literal

import pandas as pd

from autoindex.index.metrics import WINDOWS
from autoindex.reports.content import Comparison, Drawdown, ReportContent
from autoindex.reports.wording import day

# None where it is not known when the index was launched, or where there is nothing to test.
Extent = Literal["no", "partly", "yes"] | None

_MARK: Final = "\N{NO-BREAK SPACE}\N{DAGGER}"


def extent(content: ReportContent, base: date, last: date) -> Extent:
    """How far the returns from the close of `base` to that of `last` are back-tested."""
    past = content.published_past
    if past is None:
        return None
    if base >= past.back_tested_until:
        return "no"
    return "yes" if last <= past.back_tested_until else "partly"


def of_comparison(content: ReportContent, row: Comparison) -> Extent:
    """How far the returns of one row of the comparisons are back-tested."""
    if row.base is None or row.last is None:
        return None
    return extent(content, row.base, row.last)


def of_drawdown(content: ReportContent, fall: Drawdown) -> Extent:
    """How far a fall and the way back are back-tested."""
    return extent(content, fall.start, fall.recovered or content.period.last)


def of_year(content: ReportContent, year: int) -> Extent:
    """How far the returns of a calendar year are back-tested."""
    sessions = content.series.sessions
    last = sessions[bisect_right(sessions, date(year, 12, 31)) - 1]
    return extent(content, max(date(year - 1, 12, 31), sessions[0]), last)


def of_window(content: ReportContent, window: str) -> Extent:
    """How far the returns of a metrics window are back-tested."""
    last, offset = content.period.last, WINDOWS[window]
    if window == "all":
        return extent(content, content.inception, last)
    if offset is None:
        return of_year(content, last.year)
    base: pd.Timestamp = pd.Timestamp(last) - offset
    return extent(content, base.date(), last)


def everything(content: ReportContent) -> bool:
    """Whether no level is newer than the launch."""
    return extent(content, content.inception, content.period.last) == "yes"


def sentence(content: ReportContent) -> str:
    """Up to when levels are back-tested, and since when they are published; empty if unknown."""
    past = content.published_past
    if past is None:
        return ""
    which = "All levels" if everything(content) else f"Levels up to {day(past.back_tested_until)}"
    return f"{which} are back-tested: the index was launched on {day(past.launched_at)}."


def footnote(content: ReportContent) -> str:
    """What stands under a table of returns: what the dagger means, and up to when all of it holds.

    Empty where nothing is back-tested, or where it is not known.
    """
    found = extent(content, content.inception, content.period.last)
    if found in (None, "no"):
        return ""
    return f"{note(content)} {sentence(content)}".lstrip()


def mark(content: ReportContent, found: Extent) -> str:
    """The dagger of a row that is back-tested; none where everything is."""
    return "" if found in (None, "no") or everything(content) else _MARK


def note(content: ReportContent) -> str:
    """What the dagger means; empty where no row has one."""
    if not mark(content, extent(content, content.inception, content.period.last)):
        return ""
    return "\N{DAGGER} With a back-test."
