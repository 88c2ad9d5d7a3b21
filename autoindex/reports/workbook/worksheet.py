"""One table a sheet: typed cells, number formats, frozen header, filter, print layout."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.header_footer import HeaderFooterItem, _HeaderFooterPart
from openpyxl.worksheet.page import PageMargins
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
_POINTS_A_LINE: Final = 14.0
# A longer table is printed in portrait, unless it has too many columns for that.
_LONG: Final = 60
_FEW_COLUMNS: Final = 9
_LIKE_FORMULAS: Final = ("=", "+", "-", "@", "'")
_BESIDE_FIGURES: Final = Alignment(horizontal="left", indent=1)
_LIKE_FIGURES: Final = Alignment(horizontal="right")


def add_table(
    book: Workbook,
    title: str,
    columns: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[Any]],
    widths: Sequence[float] = (),
    *,
    missing: str | None = None,
) -> Worksheet:
    """Add a sheet with one table from A1; `columns` are heads and number formats.

    Widths that are not given are 13 characters. `missing` stands where a row has None.
    """
    page: Worksheet = book.create_sheet(title)
    page.append([head for head, _ in columns])
    for row in rows:
        page.append([missing if value is None else value for value in row])
    for column, (_, number_format) in enumerate(columns, start=1):
        for (cell,) in page.iter_rows(2, page.max_row, column, column):
            cell.number_format = number_format
            if number_format == TEXT and column > 1:
                cell.alignment = _BESIDE_FIGURES
            elif number_format != TEXT and cell.value == missing:
                cell.alignment = _LIKE_FIGURES
    _head(page, columns, widths)
    page.freeze_panes = "B2"
    page.auto_filter.ref = page.dimensions
    page.print_title_rows = "1:1"
    to_print(page)
    return page


def _head(page: Worksheet, columns: Sequence[tuple[str, str]], widths: Sequence[float]) -> None:
    """The header row: text to the left, headers of figures to the right, as high as needed."""
    lines = 1
    for column, (head, number_format) in enumerate(columns, start=1):
        width = widths[column - 1] if column <= len(widths) else _WIDTH
        page.column_dimensions[get_column_letter(column)].width = width
        lines = max(lines, len(wrap(head, int(width) - 2)))
        cell = page.cell(1, column)
        cell.font, cell.fill = HEAD_FONT, HEAD_FILL
        words = number_format == TEXT
        cell.alignment = Alignment(
            horizontal="left" if words else "right",
            vertical="center",
            indent=1 if words and column > 1 else 0,
            wrap_text=True,
        )
    page.row_dimensions[1].height = lines * _POINTS_A_LINE + 4.0


def to_print(page: Worksheet) -> None:
    """A4, fit to the paper's width, any number of pages; no gridlines on the screen."""
    page.sheet_view.showGridLines = False
    portrait = page.max_row > _LONG and page.max_column <= _FEW_COLUMNS
    page.page_setup.orientation = "portrait" if portrait else "landscape"
    page.page_margins = PageMargins(left=0.5, right=0.5, top=0.5, bottom=0.6)
    page.oddFooter = HeaderFooterItem(
        left=_HeaderFooterPart("&A", size=8), right=_HeaderFooterPart("Page &P of &N", size=8)
    )
    page.page_setup.paperSize = page.PAPERSIZE_A4
    page.page_setup.fitToHeight = 0
    page.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


def spreadsheet_time(instant: datetime) -> datetime:
    """The instant in UTC without a time zone, of which spreadsheets know nothing."""
    return instant.astimezone(UTC).replace(tzinfo=None, microsecond=0)


def keep_values(page: Worksheet) -> None:
    """Keep every cell's value: text as text, a number with all its digits."""
    for row in page.iter_rows():
        for cell in row:
            if isinstance(cell, Cell) and isinstance(cell.value, str):
                _keep_words(cell, cell.value)
            elif isinstance(cell, Cell) and isinstance(cell.value, float):
                # openpyxl writes 16 digits, and the 17th would differ.
                cell.value = repr(cell.value)
                cell.data_type = "n"


def _keep_words(cell: Cell, words: str) -> None:
    # openpyxl reads `=1+1` as a formula and `#N/A` as an error.
    cell.data_type = "s"
    # A spreadsheet program would, too, once the cell is edited.
    cell.quotePrefix = words.startswith(_LIKE_FORMULAS)
