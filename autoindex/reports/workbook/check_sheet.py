"""The workbook's `Check` sheet: formulas that recompute figures from the other sheets' values.

Their values are stored beside them, for a viewer that computes nothing. A spreadsheet program
computes them again when it opens the file.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, Final, NamedTuple

from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.styles import Alignment, Font
from openpyxl.worksheet.worksheet import Worksheet

from autoindex.reports.content import ReportContent
from autoindex.reports.workbook.worksheet import HEAD_FILL, HEAD_FONT, styled, to_print

TITLE: Final = "Check"
TOLERANCE: Final = 1e-9
_HEAD: Final = ("Check", "Stated", "Recomputed", "Difference", "Agrees")
_SIDES: Final = ("left", "right", "right", "right", "center")
_DIGITS: Final = "0.000000000000"
# Place of a formula -> its value.
Values = dict[str, float | str]


class Check(NamedTuple):
    """A figure, where it is stated, the formula that recomputes it, and what that gives."""

    sentence: str
    stated: str
    formula: str
    figure: float
    recomputed: float

    @property
    def agrees(self) -> str:
        """As the sheet's own formula says it."""
        bound = TOLERANCE * max(1.0, abs(self.figure))
        return "yes" if abs(self.recomputed - self.figure) <= bound else "NO"


def checks(content: ReportContent) -> list[Check]:
    """Every check that the content has the figures for."""
    return [
        *_levels(content),
        _last_year(content),
        *_benchmark(content),
        *_contributions(content),
        *_holdings(content),
    ]


def _rows(content: ReportContent) -> tuple[int, int]:
    """The rows of `Daily` with the period's base and with the last session."""
    base = content.series.sessions.index(content.period.base)
    return base + 2, len(content.series.sessions) + 1


def _levels(content: ReportContent) -> Iterator[Check]:
    base, last = _rows(content)
    head, level, drawdown = content.headline, content.series.level, content.series.drawdown
    yield Check(
        "The level is the last of the daily levels",
        "Cover!B7",
        f"Daily!B{last}",
        head.level,
        level[-1],
    )
    yield Check(
        "The period's return is level over level at the base, less 1",
        "Cover!B8",
        f"Daily!B{last}/Daily!B{base}-1",
        head.period_return,
        level[-1] / level[base - 2] - 1,
    )
    yield Check(
        "The maximum drawdown is the deepest of the daily ones",
        "Cover!B15",
        f"MIN(Daily!D2:D{last})",
        head.max_drawdown,
        min(drawdown),
    )
    yield Check(
        "The last daily drawdown is level over highest level, less 1",
        f"Daily!D{last}",
        f"Daily!B{last}/MAX(Daily!B2:B{last})-1",
        drawdown[-1],
        level[-1] / max(level) - 1,
    )


def _last_year(content: ReportContent) -> Check:
    row, year = len(content.monthly_returns) + 1, content.monthly_returns[-1]
    months = {
        f"(1+'Monthly returns'!{'BCDEFGHIJKLM'[month]}{row})": 1 + value
        for month, value in enumerate(year.months)
        if value is not None
    }
    return Check(
        "The last year's return is its months, compounded",
        f"'Monthly returns'!N{row}",
        f"{'*'.join(months)}-1",
        year.year_return,
        prod(months.values()) - 1,
    )


def _benchmark(content: ReportContent) -> Iterator[Check]:
    base, last = _rows(content)
    head, close = content.headline, content.series.benchmark
    theirs, difference = head.benchmark_period_return, head.period_difference
    before, after = close[base - 2], close[-1]
    if theirs is None or difference is None or before is None or after is None:
        return
    yield Check(
        "The benchmark's return over the period",
        "Cover!B9",
        f"Daily!C{last}/Daily!C{base}-1",
        theirs,
        after / before - 1,
    )
    yield Check(
        "The difference is index less benchmark",
        "Cover!B10",
        "Cover!B8-Cover!B9",
        difference,
        head.period_return - theirs,
    )


def _contributions(content: ReportContent) -> Iterator[Check]:
    if content.contributions:
        yield Check(
            "The contributions add up to the period's return",
            "Cover!B8",
            f"SUM(Contributions!D2:D{len(content.contributions) + 1})",
            content.headline.period_return,
            sum(row.contribution for row in content.contributions),
        )


def _holdings(content: ReportContent) -> Iterator[Check]:
    held = content.holdings
    end = len(held) + 1
    if held:
        weights = sum(row.weight for row in held)
        yield Check("The weights add up to 1", "1", f"SUM(Holdings!D2:D{end})", 1.0, weights)
    units = [row.units for row in held if row.units is not None]
    if held and len(units) == len(held):
        yield Check(
            "Units times closes are the level",
            "Cover!B7",
            f"SUMPRODUCT(Holdings!F2:F{end},Holdings!G2:G{end})",
            content.headline.level,
            sum(unit * row.close for unit, row in zip(units, held, strict=True)),
        )
    if content.risk_sessions:
        yield Check(
            "The contributions to risk add up to 1",
            "1",
            f"SUM(Holdings!I2:I{end})",
            1.0,
            sum(row.risk_contribution or 0.0 for row in held),
        )


def add_sheet(book: Workbook, content: ReportContent) -> Values:
    """Add the sheet: one row a check, and below whether all of them agree; the formulas' values."""
    page: Worksheet = book.create_sheet(TITLE)
    found = checks(content)
    to_print(page, len(found), len(_HEAD))
    page.freeze_panes = "A2"
    for column, width in zip("ABCDE", (58, 20, 20, 14, 10), strict=True):
        page.column_dimensions[column].width = width
    page.append(
        [
            styled(page, head, font=HEAD_FONT, fill=HEAD_FILL, alignment=Alignment(side))
            for head, side in zip(_HEAD, _SIDES, strict=True)
        ]
    )
    values: Values = {}
    for line, check in enumerate(found, start=2):
        page.append(_check(page, line, check))
        values |= _values(line, check)
    end = len(found) + 1
    page.append([])
    total = f'=IF(COUNTIF(E2:E{end},"yes")={end - 1},"yes","NO")'
    bold = Font(name="Calibri", bold=True)
    page.append(
        [
            styled(page, "All agree", font=bold),
            *[None] * 3,
            _formula(page, total, font=bold, alignment=Alignment("center")),
        ]
    )
    return values | {f"E{end + 2}": "yes" if {one.agrees for one in found} == {"yes"} else "NO"}


def _check(page: Worksheet, line: int, check: Check) -> list[Cell]:
    agrees = f'=IF(ABS(D{line})<={TOLERANCE}*MAX(1,ABS(B{line})),"yes","NO")'
    return [
        styled(page, check.sentence),
        _formula(page, f"={check.stated}", number_format=_DIGITS),
        _formula(page, f"={check.formula}", number_format=_DIGITS),
        _formula(page, f"=C{line}-B{line}", number_format="0.0E+00"),
        _formula(page, agrees, alignment=Alignment("center")),
    ]


def _values(line: int, check: Check) -> Values:
    difference = check.recomputed - check.figure
    row: tuple[float | str, ...] = (check.figure, check.recomputed, difference, check.agrees)
    return {f"{column}{line}": value for column, value in zip("BCDE", row, strict=True)}


def _formula(page: Worksheet, formula: str, **styles: Any) -> Cell:
    """Only these cells are formulas, and none of them holds a name."""
    cell = styled(page, **styles)
    cell.value = formula
    return cell
