"""The section on corrections: published levels that have changed, and what is pending."""

from typing import Any, Final

from reportlab.platypus import Flowable, Spacer, Table

from autoindex.reports.content import PublishedPast, ReportContent
from autoindex.reports.pdf.flowables import CAPTION, GAP, Gap, Heading, grid, in_cell, say
from autoindex.reports.wording import correction_cause, day, figure, percent

# The other formats list all of them.
_SHOWN: Final = 12
_LEFT: Final = ("ALIGN", (-1, 0), (-1, -1), "LEFT")
_APART: Final = ("LEFTPADDING", (-1, 0), (-1, -1), 12)


def section(content: ReportContent, width: float, shown: int = _SHOWN) -> list[Flowable]:
    """The largest changes and corrections; empty where it is not known what was published."""
    past = content.published_past
    if past is None:
        return []
    parts: list[Flowable] = [Heading("Corrections"), say(_changed(content, past, shown), CAPTION)]
    if past.changes:
        parts += [_changes(past, width, shown), Spacer(0, GAP / 2)]
    parts.append(say(_waiting(past, shown), CAPTION))
    if past.pending:
        parts.append(_pending(past, width, shown))
    return [*parts, Gap()]


def _changed(content: ReportContent, past: PublishedPast, shown: int) -> str:
    since = f"since the close of {day(content.period.base)}"
    if not past.changes:
        return f"No published level has changed {since}."
    return f"Published levels that have changed {since}{_largest(len(past.changes), shown)}."


def _waiting(past: PublishedPast, shown: int) -> str:
    if not past.pending:
        return "No correction is pending."
    return (
        f"Pending{_largest(len(past.pending), shown)}: no published level changes until somebody "
        "asks for a computation that starts there. Effect: the largest change of a level that it "
        "would make."
    )


def _largest(count: int, shown: int) -> str:
    return f", the {shown} largest of {count:,}" if count > shown else ""


def _changes(past: PublishedPast, width: float, shown: int) -> Table:
    sizes = {one: one.new_level / one.old_level - 1 for one in past.changes}
    chosen = sorted(past.changes, key=lambda one: -abs(sizes[one]))[:shown]
    unit = width / 12
    rows: list[list[Any]] = [["Session", "Published", "Replaced by", "Change", "On", "Cause"]]
    rows += [
        [
            day(one.session),
            figure(one.old_level),
            figure(one.new_level),
            percent(sizes[one], 3, signed=True),
            day(one.published_at),
            in_cell(one.cause, 4.6 * unit),
        ]
        for one in sorted(chosen, key=lambda one: one.session)
    ]
    widths = [1.5 * unit, *[1.35 * unit] * 3, 1.45 * unit, 5.0 * unit]
    return grid(rows, widths, extra=[_LEFT, _APART])


def _pending(past: PublishedPast, width: float, shown: int) -> Table:
    chosen = sorted(past.pending, key=lambda one: -(one.effect or 0.0))[:shown]
    unit = width / 12
    rows: list[list[Any]] = [["Session", "Effect", "Cause"]]
    rows += [
        [
            day(one.session),
            percent(one.effect, 3),
            in_cell(correction_cause(one), 9.0 * unit),
        ]
        for one in sorted(chosen, key=lambda one: one.session)
    ]
    return grid(rows, [1.5 * unit, 1.5 * unit, 9.0 * unit], extra=[_LEFT, _APART])
