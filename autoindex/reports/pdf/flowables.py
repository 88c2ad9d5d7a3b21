"""Building blocks of the pages: text styles, headings, charts, tables of figures."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from matplotlib.figure import Figure
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Frame, Paragraph, Spacer, Table, TableStyle

from autoindex.reports import theme
from autoindex.reports.pdf import vector

GAP: Final = 6 * mm
_SPARE: Final = 2 * mm
_STEP: Final = 0.02
_LARGEST: Final = 4.0

Part = Callable[[float], list[Flowable]]
"""A part of a page, for a column of so many points; empty where there is nothing to show."""


def _style(name: str, font: str, size: float, leading: float, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(name, fontName=font, fontSize=size, leading=leading, **more)


TITLE: Final = _style("title", theme.BOLD, 25, 31, textColor=theme.INK)
LONG_TITLE: Final = _style("long title", theme.BOLD, 15, 18, textColor=theme.INK)
SUBTITLE: Final = _style("subtitle", theme.REGULAR, 11, 15, textColor=theme.MUTED)
LEAD: Final = _style("lead", theme.REGULAR, 10.5, 14.5, textColor=theme.INK)
HEADING: Final = _style("heading", theme.BOLD, 11.5, 15, textColor=theme.ACCENT, spaceAfter=1)
SUBHEADING: Final = _style("subheading", theme.BOLD, 9, 12.5, textColor=theme.INK)
CAPTION: Final = _style("caption", theme.REGULAR, 7.5, 10, textColor=theme.MUTED, spaceAfter=2)
BODY: Final = _style("body", theme.REGULAR, 9, 12.5, textColor=theme.INK, spaceAfter=5)
PRINT: Final = _style("print", theme.REGULAR, 8, 10.6, textColor=theme.INK, spaceAfter=4)
CELL: Final = _style("cell", theme.REGULAR, 8, 10, textColor=theme.INK)

_FLUSH: Final = [
    # Also for a cell without text: ReportLab's default font is not embedded.
    ("FONT", (0, 0), (-1, -1), theme.REGULAR),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 0),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
]


def say(text: str, style: ParagraphStyle) -> Paragraph:
    """A paragraph of plain text, with `&` and `<` escaped; a figure stays with its unit."""
    return Paragraph(escape(text).replace(" pp", "\N{NO-BREAK SPACE}pp"), style)


def in_cell(text: str, width: float, lines: int = 2) -> Paragraph:
    """Text in a table cell of `width` points, cut to about so many lines."""
    return say(theme.shortened(text, (lines - 0.2) * width, CELL.fontSize), CELL)


class Heading(Paragraph):
    """A part's heading, and its entry in the PDF's outline."""

    def __init__(self, title: str) -> None:
        super().__init__(escape(title), HEADING)
        self._title = title

    def draw(self) -> None:
        self.canv.bookmarkHorizontal(self._title, 0, self.height)
        self.canv.addOutlineEntry(self._title, self._title, level=0)
        super().draw()


class Chart(Flowable):
    """A figure of `width` by `height` points, drawn as vectors."""

    def __init__(self, figure: Figure) -> None:
        super().__init__()
        self._figure = figure
        self.width, self.height = (float(side) for side in figure.bbox.size)

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803
        return self.width, self.height

    def draw(self) -> None:
        vector.draw(self._figure, self.canv)


class Gap(Spacer):
    """Space below a part, as far as the page has room: never a page of its own."""

    def __init__(self) -> None:
        super().__init__(0, GAP)

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803
        return 0.0, min(GAP, aH)


class Bar(Flowable):
    """A horizontal bar that fills `share` of its cell."""

    def __init__(self, share: float, width: float, height: float = 5.0) -> None:
        super().__init__()
        self.width, self.height = width, height
        self._filled = max(min(share, 1.0), 0.0) * width

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803
        return self.width, self.height

    def draw(self) -> None:
        self.canv.setFillColor(theme.ACCENT)
        self.canv.rect(0, 0, self._filled, self.height, stroke=0, fill=1)


def grid(
    rows: Sequence[Sequence[Any]],
    widths: Sequence[float],
    *,
    extra: Sequence[tuple[Any, ...]] = (),
    padding: float = 2.2,
    heads: int = 1,
) -> Table:
    """A table of figures: `heads` header rows, and text in the first column."""
    above: list[tuple[Any, ...]] = [("LINEABOVE", (0, 0), (-1, 0), 0.7, theme.INK)]
    if heads:
        above = [
            ("FONT", (0, 0), (-1, heads - 1), theme.BOLD, 7.5, 9),
            ("TEXTCOLOR", (0, 0), (-1, heads - 1), theme.MUTED),
            ("LINEBELOW", (0, heads - 1), (-1, heads - 1), 0.7, theme.INK),
        ]
    commands: list[tuple[Any, ...]] = [
        ("FONT", (0, 0), (-1, -1), theme.REGULAR, 8, 10),
        ("TEXTCOLOR", (0, heads), (-1, -1), theme.INK),
        *above,
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LINEBELOW", (0, heads), (-1, -1), 0.3, theme.RULE),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("LEFTPADDING", (1, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), padding),
        ("BOTTOMPADDING", (0, 0), (-1, -1), padding),
        *extra,
    ]
    return Table(
        [list(row) for row in rows],
        colWidths=list(widths),
        style=TableStyle(commands),
        repeatRows=heads,
        hAlign="LEFT",
    )


def bold(column: int) -> tuple[Any, ...]:
    """The style of a bold column of `grid`, without its header."""
    return ("FONT", (column, 1), (column, -1), theme.BOLD, 8, 10)


def side_by_side(left: Part, right: Part, width: float) -> list[Flowable]:
    """Two columns of equal width with the usual gap; one over both where the other is empty."""
    half = half_of(width)
    columns = left(half), right(half)
    if not all(columns):
        return left(width) or right(width)
    flush = TableStyle(_FLUSH)
    row = [[columns[0], "", columns[1]]]
    return [Table(row, [half, GAP, half], style=flush, hAlign="LEFT")]


class OnePage(Flowable):
    """What `make` gives for a width and a chart's height, on one page.

    The chart is as high as the rest leaves room for, between `least` and `most` points. Where that
    is not enough, everything is set wider and shown smaller.
    """

    def __init__(
        self,
        make: Callable[[float, float], list[Flowable]],
        width: float,
        height: float,
        *,
        least: float,
        most: float,
    ) -> None:
        super().__init__()
        self.width, self.height, self._larger = width, height, 1.0
        while (spare := self._spare(make(width * self._larger, least))) < 0:
            self._larger += _STEP
            if self._larger > _LARGEST:
                raise ValueError("the parts of a page do not fit on it, however small")
        self._parts = make(width * self._larger, min(least + spare, most))

    def _spare(self, parts: list[Flowable]) -> float:
        width, height = self.width * self._larger, self.height * self._larger
        taken = (part.wrap(width, height)[1] + part.getSpaceAfter() for part in parts)
        return height - _SPARE - sum(taken)

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803
        return self.width, self.height

    def draw(self) -> None:
        self.canv.scale(1 / self._larger, 1 / self._larger)
        sides = self.width * self._larger, self.height * self._larger
        Frame(0, 0, *sides, *(0, 0, 0, 0)).addFromList(self._parts, self.canv)


def half_of(width: float) -> float:
    """Width of one of two columns."""
    return (width - GAP) / 2
