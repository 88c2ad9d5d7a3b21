"""What stands on the pages, in order: a story of ReportLab flowables."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from matplotlib.figure import Figure
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    KeepTogether,
    PageBreak,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from autoindex.reports import charts, theme, vector
from autoindex.reports.content import ReportContent
from autoindex.reports.wording import (
    day,
    figure,
    metric_label,
    metric_value,
    percent,
    points,
    span,
    to_date,
    words,
)

_GAP: Final = 5 * mm
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _style(name: str, font: str, size: float, leading: float, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(name, fontName=font, fontSize=size, leading=leading, **more)


_TITLE: Final = _style("title", theme.BOLD, 25, 28, textColor=theme.INK)
_SUBTITLE: Final = _style("subtitle", theme.REGULAR, 11, 15, textColor=theme.MUTED)
_HEADING: Final = _style("heading", theme.BOLD, 11.5, 15, textColor=theme.ACCENT, spaceAfter=1)
_CAPTION: Final = _style("caption", theme.REGULAR, 7.5, 10, textColor=theme.MUTED, spaceAfter=2)
_BODY: Final = _style("body", theme.REGULAR, 9, 12.5, textColor=theme.INK)
_CELL: Final = _style("cell", theme.REGULAR, 8, 10, textColor=theme.INK)
_NUMBER: Final = _style("number", theme.REGULAR, 8, 10, textColor=theme.INK, alignment=TA_RIGHT)


def say(text: str, style: ParagraphStyle) -> Paragraph:
    """A paragraph of plain text: names may hold `&` and `<`."""
    return Paragraph(escape(text), style)


class Chart(Flowable):
    """A figure of the given height across the column it stands in."""

    def __init__(
        self,
        make: Callable[[ReportContent, float, float], Figure],
        content: ReportContent,
        width: float,
        height: float,
    ) -> None:
        super().__init__()
        self._figure = make(content, width, height)
        self.width, self.height = width, height

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803
        return self.width, self.height

    def draw(self) -> None:
        vector.draw(self._figure, self.canv)


def heading(title: str, *, bookmark: bool = True) -> Paragraph:
    """A part's heading, and its entry in the PDF's outline."""
    paragraph = say(title, _HEADING)
    if bookmark:
        paragraph.bookmark = title
    return paragraph


def grid(
    rows: Sequence[Sequence[Any]],
    widths: Sequence[float],
    *,
    extra: Sequence[tuple[Any, ...]] = (),
    repeat: bool = True,
) -> Table:
    """A table of figures: the first row is its head, the first column words, the rest numbers."""
    commands: list[tuple[Any, ...]] = [
        ("FONT", (0, 0), (-1, -1), theme.REGULAR, 8, 10),
        ("FONT", (0, 0), (-1, 0), theme.BOLD, 7.5, 9),
        ("TEXTCOLOR", (0, 0), (-1, 0), theme.MUTED),
        ("TEXTCOLOR", (0, 1), (-1, -1), theme.INK),
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.7, theme.INK),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, theme.RULE),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 2.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
        *extra,
    ]
    return Table(
        [list(row) for row in rows],
        colWidths=list(widths),
        style=TableStyle(commands),
        repeatRows=1 if repeat else 0,
        hAlign="LEFT",
    )


def story(content: ReportContent, width: float) -> list[Flowable]:
    """The whole report, for a column of `width` points."""
    return [
        *_front(content, width),
        PageBreak(),
        *_period(content, width),
        *_drawdowns(content, width),
        PageBreak(),
        *_risk(content, width),
        PageBreak(),
        *_months(content, width),
        PageBreak(),
        *_holdings(content, width),
        *_rebalancing(content, width),
        PageBreak(),
        *_notes(content),
        *_method(content),
    ]


def _front(content: ReportContent, width: float) -> list[Flowable]:
    ending = to_date(content.period, content.report_type)
    subtitle = ", ".join(filter(None, (content.period.label, span(content.period), ending)))
    return [
        say(content.index_name, _TITLE),
        say(f"{content.report_type.capitalize()} report. {subtitle}", _SUBTITLE),
        Spacer(0, _GAP),
        _tiles(content, width),
        Spacer(0, _GAP),
        say(content.summary, _BODY),
        Spacer(0, _GAP),
        heading("Growth of 100 since inception"),
        Chart(charts.growth, content, width, 72 * mm),
        Spacer(0, _GAP),
        heading("Performance"),
        _comparisons(content, width),
    ]


def _tiles(content: ReportContent, width: float) -> Table:
    head = content.headline
    tiles = [
        (f"Return, {content.report_type}", percent(head.period_return, signed=True)),
        ("Against benchmark", points(head.period_difference)),
        ("Year to date", percent(head.year_to_date_return, signed=True)),
        ("Annual return", percent(head.annual_return, signed=True)),
        ("Annual volatility", percent(head.annual_volatility)),
        ("Maximum drawdown", percent(head.max_drawdown)),
    ]
    style = TableStyle(
        [
            ("FONT", (0, 0), (-1, 0), theme.REGULAR, 7.5, 9),
            ("TEXTCOLOR", (0, 0), (-1, 0), theme.MUTED),
            ("FONT", (0, 1), (-1, 1), theme.BOLD, 15, 18),
            ("TEXTCOLOR", (0, 1), (-1, 1), theme.INK),
            ("TEXTCOLOR", (0, 1), (0, 1), theme.ACCENT),
            ("LINEABOVE", (0, 0), (-1, 0), 0.7, theme.INK),
            ("LINEBELOW", (0, 1), (-1, 1), 0.3, theme.RULE),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, 0), 5),
            ("BOTTOMPADDING", (0, 1), (-1, 1), 7),
        ]
    )
    return Table(list(map(list, zip(*tiles, strict=True))), [width / len(tiles)] * 6, style=style)


def _comparisons(content: ReportContent, width: float) -> Table:
    benchmark = content.benchmark_name or "Benchmark"
    rows: list[list[str]] = [
        ["", "From", "Index", benchmark, "Difference", "Index p.a.", f"{benchmark} p.a."]
    ]
    for row in content.comparisons:
        if row.index_return is None:
            rows.append([row.label, "not enough data", "", "", "", "", ""])
            continue
        rows.append(
            [
                row.label,
                day(row.base),
                percent(row.index_return, signed=True),
                percent(row.benchmark_return, signed=True),
                points(row.difference),
                percent(row.index_annual_return, signed=True),
                percent(row.benchmark_annual_return, signed=True),
            ]
        )
    unit = width / 12
    return grid(
        rows,
        [2.8 * unit, 1.7 * unit, *[1.5 * unit] * 5],
        extra=[("FONT", (2, 1), (2, -1), theme.BOLD, 8, 10)],
    )


def _period(content: ReportContent, width: float) -> list[Flowable]:
    half = (width - _GAP) / 2
    left: list[Flowable] = [
        heading("The period"),
        say(f"From the close of {day(content.period.base)}", _CAPTION),
        Chart(charts.period, content, half, 62 * mm),
    ]
    right: list[Flowable] = [
        heading("Contributions to return"),
        say("Largest in size; all of them are in the table of holdings", _CAPTION),
    ]
    if content.contributions:
        right.append(Chart(charts.contributions, content, half, 62 * mm))
    else:
        right.append(_not_enough(content, "contributions"))
    return [_side_by_side(left, right, half), Spacer(0, _GAP)]


def _side_by_side(left: list[Flowable], right: list[Flowable], half: float) -> Table:
    style = TableStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 0),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
        ]
    )
    return Table([[left, "", right]], [half, _GAP, half], style=style)


def _not_enough(content: ReportContent, part: str) -> Paragraph:
    reason = next((gap.reason for gap in content.missing if gap.part == part), "Not enough data.")
    return say(reason, _BODY)


def _drawdowns(content: ReportContent, width: float) -> list[Flowable]:
    rows: list[list[str]] = [
        ["", "High", "Low", "Recovered", "Depth", "Sessions down", "Sessions back"]
    ]
    for rank, fall in enumerate(content.drawdowns, start=1):
        rows.append(
            [
                str(rank),
                day(fall.start),
                day(fall.trough),
                day(fall.recovered) if fall.recovered else "not yet",
                percent(fall.depth),
                figure(fall.sessions_to_trough, 0),
                figure(fall.sessions_to_recovery, 0),
            ]
        )
    unit = width / 12
    return [
        heading("Drawdowns"),
        say("Below the highest close so far", _CAPTION),
        Chart(charts.drawdown, content, width, 62 * mm),
        Spacer(0, _GAP),
        heading("Five deepest drawdowns", bookmark=False),
        grid(rows, [0.6 * unit, *[1.9 * unit] * 6]),
    ]


def _risk(content: ReportContent, width: float) -> list[Flowable]:
    window = content.series.rolling_sessions
    return [
        heading("Rolling volatility"),
        say(f"Annual, over {window} sessions", _CAPTION),
        Chart(charts.rolling_volatility, content, width, 62 * mm),
        Spacer(0, _GAP),
        heading("Rolling Sharpe ratio"),
        say(f"Over {window} sessions, risk-free rate of zero", _CAPTION),
        Chart(charts.rolling_sharpe, content, width, 62 * mm),
        Spacer(0, _GAP),
        heading("Measures"),
        _metrics(content, width),
    ]


def _metrics(content: ReportContent, width: float) -> Table:
    windows = list(dict.fromkeys(row.window for row in content.metrics))
    names = list(dict.fromkeys(row.metric for row in content.metrics))
    values = {(row.window, row.metric): row.index for row in content.metrics}
    rows = [["", *map(words, windows)]]
    for name in names:
        cells = [metric_value(name, values.get((window, name))) for window in windows]
        rows.append([metric_label(name), *cells])
    first = width * 0.34
    return grid(rows, [first, *[(width - first) / max(len(windows), 1)] * len(windows)])


def _months(content: ReportContent, width: float) -> list[Flowable]:
    benchmark = content.benchmark_name or "Benchmark"
    rows: list[list[str]] = [["", *_MONTHS, "Year", benchmark]]
    tints: list[tuple[Any, ...]] = []
    for line, year in enumerate(reversed(content.monthly_returns), start=1):
        cells = []
        for column, value in enumerate(year.months, start=1):
            mark = "*" if column in year.incomplete else ""
            cells.append("" if value is None else f"{figure(100 * value, 1)}{mark}")
            if value is not None:
                tints.append(("BACKGROUND", (column, line), (column, line), _tint(value)))
        rows.append(
            [
                str(year.year),
                *cells,
                figure(100 * year.year_return, 1),
                figure(None if (b := year.benchmark_year_return) is None else 100 * b, 1),
            ]
        )
    unit = width / 15
    return [
        heading("Monthly returns"),
        say(
            "Per cent. The stronger the shade, the larger the move; gains are teal, losses grey "
            "with a minus sign. * marks a month cut short.",
            _CAPTION,
        ),
        grid(
            rows,
            [unit, *[unit] * 12, unit, unit],
            extra=[
                *tints,
                ("FONT", (0, 1), (0, -1), theme.BOLD, 8, 10),
                ("FONT", (13, 1), (13, -1), theme.BOLD, 8, 10),
                ("TEXTCOLOR", (14, 1), (14, -1), theme.MUTED),
            ],
        ),
    ]


def _tint(value: float) -> str:
    strength = min(abs(value) / 0.12, 1.0) * 0.55
    return theme.blend(theme.ACCENT if value >= 0 else theme.BENCHMARK, strength)


def _holdings(content: ReportContent, width: float) -> list[Flowable]:
    parts: list[Flowable] = [
        heading("Allocations"),
        say("Target weights by sector at each rebalance", _CAPTION),
    ]
    if content.allocations.sessions:
        parts += [Chart(charts.allocations, content, width, 62 * mm), Spacer(0, _GAP)]
    parts += [
        heading("Holdings"),
        say(
            f"At the close of {day(content.period.last)}. Contributions to return are those of "
            "the period; contributions to risk are shares of the variance of today's holdings.",
            _CAPTION,
        ),
    ]
    if not content.holdings:
        return [*parts, _not_enough(content, "holdings")]
    contribution = {row.symbol: row.contribution for row in content.contributions}
    rows: list[list[Any]] = [
        ["Constituent", "", "Sector", "Weight", "Target", "To return", "To risk", "Volatility"]
    ]
    rows += [
        [
            row.symbol,
            say(row.name, _CELL),
            say(row.sector, _CELL),
            percent(row.weight),
            percent(row.target_weight),
            points(contribution.get(row.symbol)),
            percent(row.risk_contribution, 1),
            percent(row.annual_volatility, 1),
        ]
        for row in content.holdings
    ]
    unit = width / 12
    return [
        *parts,
        grid(
            rows,
            [unit, 3.1 * unit, 2.4 * unit, *[1.1 * unit] * 5],
            extra=[
                ("ALIGN", (1, 0), (2, -1), "LEFT"),
                ("FONT", (0, 1), (0, -1), theme.BOLD, 8, 10),
            ],
        ),
        Spacer(0, _GAP),
    ]


def _rebalancing(content: ReportContent, width: float) -> list[Flowable]:
    change = content.rebalance
    parts: list[Flowable] = [heading("Last rebalance")]
    if change is None:
        return [*parts, _not_enough(content, "rebalance")]
    parts.append(
        say(
            f"{day(change.session)}, one-way turnover {percent(change.turnover)}. "
            f"Entered: {', '.join(change.entered) or 'none'}. "
            f"Left: {', '.join(change.left) or 'none'}.",
            _CAPTION,
        )
    )
    rows: list[list[Any]] = [["", "", "Before", "After", "Change"]]
    rows += [
        [row.symbol, row.name, percent(row.before), percent(row.after), points(row.change)]
        for row in change.changes[:10]
    ]
    unit = width / 12
    table = grid(
        rows,
        [1.2 * unit, 4.8 * unit, 2 * unit, 2 * unit, 2 * unit],
        extra=[("ALIGN", (1, 0), (1, -1), "LEFT"), ("FONT", (0, 1), (0, -1), theme.BOLD, 8, 10)],
    )
    parts += [table, Spacer(0, _GAP)]
    if content.yearly_turnover:
        parts.append(
            KeepTogether(
                [
                    heading("Turnover"),
                    say("One-way, by calendar year", _CAPTION),
                    Chart(charts.turnover, content, width, 45 * mm),
                ]
            )
        )
    return [CondPageBreak(60 * mm), *parts]


def _notes(content: ReportContent) -> list[Flowable]:
    lines = [*content.quality_notes, *(f"{gap.part}: {gap.reason}" for gap in content.missing)]
    texts = lines or ["Nothing to report: no price was deferred, refused or filled."]
    return [
        heading("Data quality"),
        *(say(text, _BODY) for text in texts),
        Spacer(0, _GAP),
    ]


def _method(content: ReportContent) -> list[Flowable]:
    parts: list[Flowable] = [heading("Method and sources")]
    for paragraph in content.method:
        parts += [
            Paragraph(f"<b>{escape(paragraph.title)}.</b> {escape(paragraph.text)}", _BODY),
            Spacer(0, 2 * mm),
        ]
    return parts
