"""The workbook's `Check` sheet: formulas that recompute figures from the other sheets' values.

The formulas have no stored values; a spreadsheet program computes them when it opens the file.
"""

from typing import Any, Final

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


def formulas(content: ReportContent) -> list[tuple[str, str, str]]:
    """The checks: a sentence, the cell of the figure, and the formula that recomputes it."""
    last = len(content.series.sessions) + 1
    base = content.series.sessions.index(content.period.base) + 2
    checks = [
        ("The level is the last of the daily levels", "Cover!B7", f"Daily!B{last}"),
        (
            "The period's return is level over level at the base, less 1",
            "Cover!B8",
            f"Daily!B{last}/Daily!B{base}-1",
        ),
        (
            "The maximum drawdown is the deepest of the daily ones",
            "Cover!B15",
            f"MIN(Daily!D2:D{last})",
        ),
        (
            "The last daily drawdown is level over highest level, less 1",
            f"Daily!D{last}",
            f"Daily!B{last}/MAX(Daily!B2:B{last})-1",
        ),
        (
            "The last year's return is its months, compounded",
            f"'Monthly returns'!N{len(content.monthly_returns) + 1}",
            _compounded(len(content.monthly_returns) + 1, content.monthly_returns[-1].months),
        ),
    ]
    return [*checks, *_benchmark(content, base, last), *_holdings(content)]


def _compounded(row: int, months: tuple[float | None, ...]) -> str:
    cells = [
        f"(1+'Monthly returns'!{'BCDEFGHIJKLM'[month]}{row})"
        for month, value in enumerate(months)
        if value is not None
    ]
    return f"{'*'.join(cells)}-1"


def _benchmark(content: ReportContent, base: int, last: int) -> list[tuple[str, str, str]]:
    if content.headline.benchmark_period_return is None:
        return []
    return [
        (
            "The benchmark's return over the period",
            "Cover!B9",
            f"Daily!C{last}/Daily!C{base}-1",
        ),
        ("The difference is index less benchmark", "Cover!B10", "Cover!B8-Cover!B9"),
    ]


def _holdings(content: ReportContent) -> list[tuple[str, str, str]]:
    checks = []
    if content.contributions:
        end = len(content.contributions) + 1
        checks.append(
            (
                "The contributions add up to the period's return",
                "Cover!B8",
                f"SUM(Contributions!D2:D{end})",
            )
        )
    if content.holdings:
        end = len(content.holdings) + 1
        checks.append(("The weights add up to 1", "1", f"SUM(Holdings!D2:D{end})"))
        if all(row.units is not None for row in content.holdings):
            checks.append(
                (
                    "Units times closes are the level",
                    "Cover!B7",
                    f"SUMPRODUCT(Holdings!F2:F{end},Holdings!G2:G{end})",
                )
            )
    if content.risk_sessions:
        end = len(content.holdings) + 1
        checks.append(("The contributions to risk add up to 1", "1", f"SUM(Holdings!I2:I{end})"))
    return checks


def add_sheet(book: Workbook, content: ReportContent) -> None:
    """Add the sheet: one row a check, and below whether all of them agree."""
    page: Worksheet = book.create_sheet(TITLE)
    checks = formulas(content)
    to_print(page, len(checks), len(_HEAD))
    page.freeze_panes = "A2"
    for column, width in zip("ABCDE", (58, 20, 20, 14, 10), strict=True):
        page.column_dimensions[column].width = width
    page.append(
        [
            styled(page, head, font=HEAD_FONT, fill=HEAD_FILL, alignment=Alignment(side))
            for head, side in zip(_HEAD, _SIDES, strict=True)
        ]
    )
    for line, (sentence, stated, formula) in enumerate(checks, start=2):
        page.append(_check(page, line, sentence, stated, formula))
    end = len(checks) + 1
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


def _check(page: Worksheet, line: int, sentence: str, stated: str, formula: str) -> list[Cell]:
    agrees = f'=IF(ABS(D{line})<={TOLERANCE}*MAX(1,ABS(B{line})),"yes","NO")'
    return [
        styled(page, sentence),
        _formula(page, f"={stated}", number_format=_DIGITS),
        _formula(page, f"={formula}", number_format=_DIGITS),
        _formula(page, f"=C{line}-B{line}", number_format="0.0E+00"),
        _formula(page, agrees, alignment=Alignment("center")),
    ]


def _formula(page: Worksheet, formula: str, **styles: Any) -> Cell:
    """Only these cells are formulas, and none of them holds a name."""
    cell = styled(page, **styles)
    cell.value = formula
    return cell
