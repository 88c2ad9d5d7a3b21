"""One table a sheet: typed cells, number formats, frozen header, filter, print layout.

Sheets are write-only: what belongs to a whole sheet is set before its first row is appended.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
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
# Long text, in as many lines as it takes.
WRAPPED: Final = "General"

HEAD_FONT: Final = Font(name="Calibri", size=10, bold=True, color="FFFFFF")
HEAD_FILL: Final = PatternFill("solid", fgColor=theme.ACCENT[1:])
_WIDTH: Final = 13.0
_POINTS_A_LINE_OF_HEAD: Final = 14.0
_POINTS_A_LINE: Final = 15.0
# A column is measured in digits, and letters are narrower than digits.
_LETTERS_A_DIGIT: Final = 1.1
# A longer table is printed in portrait, unless it has too many columns for that.
_LONG: Final = 60
_FEW_COLUMNS: Final = 9
_LIKE_FORMULAS: Final = ("=", "+", "-", "@", "'")
_BESIDE_FIGURES: Final = Alignment(horizontal="left", indent=1)
_LIKE_FIGURES: Final = Alignment(horizontal="right")
_IN_LINES: Final = Alignment(horizontal="left", vertical="top", wrap_text=True)


def add_table(
    book: Workbook,
    title: str,
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[Any]],
    widths: Sequence[float] = (),
    *,
    missing: str | None = None,
) -> Worksheet:
    """Add a sheet with one table from A1; `columns` are heads and number formats.

    Widths that are not given are 13 characters. `missing` stands where a row has None. A value may
    have a number format of its own: then the row has the pair.
    """
    page: Worksheet = book.create_sheet(title)
    page.freeze_panes = "B2"
    page.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{len(rows) + 1}"
    page.print_title_rows = "1:1"
    to_print(page, len(rows), len(columns))
    widths = [*widths, *[_WIDTH] * (len(columns) - len(widths))]
    _append_head(page, columns, widths)
    made = [_Column(page, place, look, missing) for place, (_, look) in enumerate(columns)]
    wrapped = [place for place, (_, look) in enumerate(columns) if look == WRAPPED]
    for line, row in enumerate(rows, start=2):
        if wrapped:
            lines = max(_lines(row[place], widths[place]) for place in wrapped)
            page.row_dimensions[line].height = lines * _POINTS_A_LINE
        page.append([column.cell(value) for column, value in zip(made, row, strict=True)])
    return page


def _lines(text: str, width: float) -> int:
    return max(len(wrap(text, int(_LETTERS_A_DIGIT * width))), 1)


class _Column:
    """One column's cells.

    They are one object, written before it gets its next value: this takes half the time. Its style
    must stay as it is, because the workbook keeps the style and not a copy.
    """

    def __init__(self, page: Worksheet, place: int, look: str, missing: str | None) -> None:
        self._page = page
        self._styles: dict[str, Any] = {"number_format": look}
        if look == WRAPPED:
            self._styles["alignment"] = _IN_LINES
        elif look == TEXT and place > 0:
            self._styles["alignment"] = _BESIDE_FIGURES
        self._cell = styled(page, **self._styles)
        self._missing = None
        if missing is not None:
            self._missing = styled(page, missing, **{"alignment": _LIKE_FIGURES, **self._styles})

    def cell(self, value: Any) -> Cell | None:
        """The cell with `value`; None where nothing is written."""
        if isinstance(value, tuple):
            value, look = value
            if value is not None:
                return styled(self._page, value, **{**self._styles, "number_format": look})
        if value is None:
            return self._missing
        if _like_a_formula(value):
            return styled(self._page, value, **self._styles)
        keep(self._cell, value)
        return self._cell


def styled(page: Worksheet, value: Any = None, **styles: Any) -> Cell:
    """A cell for `page.append`; `styles` are such as `font` and `number_format`."""
    cell = WriteOnlyCell(page)
    for name, style in styles.items():
        setattr(cell, name, style)
    keep(cell, value)
    return cell


def keep(cell: Cell, value: Any) -> None:
    """Set a cell's value as it is: text as text, a number with all its digits."""
    if isinstance(value, float):
        # openpyxl writes 16 digits, and the 17th would differ.
        cell.value = repr(value)
        cell.data_type = "n"
        return
    cell.value = value
    if isinstance(value, str):
        # openpyxl reads `=1+1` as a formula and `#N/A` as an error.
        cell.data_type = "s"
    if _like_a_formula(value):
        # A spreadsheet program would, too, once the cell is edited.
        cell.quotePrefix = True


def _like_a_formula(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_LIKE_FORMULAS)


def _append_head(
    page: Worksheet, columns: Sequence[tuple[str, str]], widths: Sequence[float]
) -> None:
    """The header row: text to the left, headers of figures to the right, as high as needed."""
    lines, cells = 1, []
    for place, ((head, look), width) in enumerate(zip(columns, widths, strict=True)):
        page.column_dimensions[get_column_letter(place + 1)].width = width
        lines = max(lines, len(wrap(head, int(width) - 2)))
        alignment = Alignment(
            horizontal="left" if look in (TEXT, WRAPPED) else "right",
            vertical="center",
            indent=1 if look == TEXT and place > 0 else 0,
            wrap_text=True,
        )
        cells.append(styled(page, head, font=HEAD_FONT, fill=HEAD_FILL, alignment=alignment))
    page.row_dimensions[1].height = lines * _POINTS_A_LINE_OF_HEAD + 4.0
    page.append(cells)


def to_print(page: Worksheet, rows: int, columns: int) -> None:
    """A4, fit to the paper's width, any number of pages; no gridlines on the screen."""
    page.sheet_view.showGridLines = False
    portrait = rows >= _LONG and columns <= _FEW_COLUMNS
    page.page_setup.orientation = "portrait" if portrait else "landscape"
    page.page_margins = PageMargins(left=0.5, right=0.5, top=0.5, bottom=0.6)
    page.oddFooter = HeaderFooterItem(
        left=_HeaderFooterPart("&A", size=8), right=_HeaderFooterPart("Page &P of &N", size=8)
    )
    page.page_setup.paperSize = Worksheet.PAPERSIZE_A4
    page.page_setup.fitToHeight = 0
    page.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


def spreadsheet_time(instant: datetime) -> datetime:
    """The instant in UTC without a time zone, of which spreadsheets know nothing."""
    return instant.astimezone(UTC).replace(tzinfo=None, microsecond=0)
