"""One table a sheet: typed cells, number formats, frozen head, filter, ready to print."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.cell import Cell, MergedCell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from autoindex.reports import theme

PERCENT: Final = "#,##0.00%"
LEVEL: Final = "#,##0.00"
RATIO: Final = "0.00"
COUNT: Final = "#,##0"
UNITS: Final = "0.000000"
DAY: Final = "yyyy-mm-dd"
TEXT: Final = "@"

HEAD_FONT: Final = Font(name="Calibri", size=10, bold=True, color="FFFFFF")
HEAD_FILL: Final = PatternFill("solid", fgColor=theme.ACCENT[1:])
_WIDTH: Final = 13.0
_WRAPPED: Final = Alignment(wrap_text=True, vertical="center")


def add_table(
    book: Workbook,
    title: str,
    columns: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[Any]],
    widths: Sequence[float] = (),
) -> Worksheet:
    """Add a sheet with one table from A1; `columns` are heads and number formats.

    Widths that are not given are 13 characters.
    """
    page: Worksheet = book.create_sheet(title)
    page.append([head for head, _ in columns])
    for cell in page[1]:
        cell.font, cell.fill, cell.alignment = HEAD_FONT, HEAD_FILL, _WRAPPED
    for row in rows:
        page.append([_literal(value) for value in row])
    for column, (_, number_format) in enumerate(columns, start=1):
        for (cell,) in page.iter_rows(2, page.max_row, column, column):
            cell.number_format = number_format
            with_every_digit(cell)
        width = widths[column - 1] if column <= len(widths) else _WIDTH
        page.column_dimensions[get_column_letter(column)].width = width
    page.freeze_panes = "B2"
    page.auto_filter.ref = page.dimensions
    page.print_title_rows = "1:1"
    to_print(page)
    return page


def to_print(page: Worksheet) -> None:
    """A4 across, as wide as the paper and as long as it takes; no gridlines on the screen."""
    page.sheet_view.showGridLines = False
    page.page_setup.orientation = "landscape"
    page.page_setup.paperSize = page.PAPERSIZE_A4
    page.page_setup.fitToHeight = 0
    page.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


def with_every_digit(cell: Cell | MergedCell) -> None:
    """Keep all 17 digits of a number: openpyxl writes 16, and the last one would differ."""
    if isinstance(cell, Cell) and isinstance(cell.value, float):
        cell.value = repr(cell.value)
        cell.data_type = "n"


def _literal(value: Any) -> Any:
    # A name that begins so would be taken for a formula.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value
