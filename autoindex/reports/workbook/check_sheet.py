"""The workbook's `Check` sheet: formulas that recompute figures from the other sheets' values.

The formulas have no stored values; a spreadsheet program computes them when it opens the file.
"""

from typing import Final

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font
from openpyxl.worksheet.worksheet import Worksheet

from autoindex.reports.content import ReportContent
from autoindex.reports.workbook.worksheet import HEAD_FILL, HEAD_FONT, to_print

TITLE: Final = "Check"
TOLERANCE: Final = 1e-9
_HEAD: Final = ("Check", "Stated", "Recomputed", "Difference", "Agrees")


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
    to_print(page)
    for column, width in zip("ABCDE", (58, 20, 20, 14, 10), strict=True):
        page.column_dimensions[column].width = width
    page.append(_HEAD)
    for cell in page[1]:
        cell.font, cell.fill = HEAD_FONT, HEAD_FILL
    for cell, side in zip(page[1], ("left", "right", "right", "right", "center"), strict=True):
        cell.alignment = Alignment(horizontal=side)
    checks = formulas(content)
    for line, (sentence, stated, formula) in enumerate(checks, start=2):
        page.append(
            [
                sentence,
                f"={stated}",
                f"={formula}",
                f"=C{line}-B{line}",
                f'=IF(ABS(D{line})<={TOLERANCE}*MAX(1,ABS(B{line})),"yes","NO")',
            ]
        )
        for column in "BC":
            page[f"{column}{line}"].number_format = "0.000000000000"
        page[f"D{line}"].number_format = "0.0E+00"
        page[f"E{line}"].alignment = Alignment(horizontal="center")
    end = len(checks) + 1
    page.append([])
    page.append(
        ["All agree", None, None, None, f'=IF(COUNTIF(E2:E{end},"yes")={end - 1},"yes","NO")']
    )
    for cell in page[end + 2]:
        cell.font = Font(name="Calibri", bold=True)
    page.freeze_panes = "A2"
