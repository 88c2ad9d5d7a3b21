"""The tables of figures in the PDF."""

from calendar import month_abbr
from typing import Any, Final

from reportlab.platypus import Table, TableStyle

from autoindex.reports import back_test, theme
from autoindex.reports.content import Metric, MonthlyReturns, Number, ReportContent
from autoindex.reports.pdf.flowables import CELL, Bar, bold, grid, in_cell
from autoindex.reports.wording import (
    NOTHING,
    day,
    figure,
    metric_label,
    metric_value,
    percent,
    points,
    return_label,
    window_label,
    words,
)

MONTHS: Final = tuple(month_abbr[1:])
_WINDOWS: Final = ("1Y", "3Y", "5Y", "all")
# Shown in the headline or under Performance, or only in the workbook.
_ELSEWHERE: Final = frozenset(
    {
        "total_return",
        "current_drawdown",
        "value_at_risk_99",
        "conditional_value_at_risk_99",
    }
)
_LONGEST_HEAD: Final = 10
_STRONGEST: Final = 0.12
_TOP: Final = 10


def tiles(content: ReportContent, width: float) -> Table:
    """The headline figures in a row."""
    head = content.headline
    shown = [
        (return_label(content), percent(head.period_return, signed=True)),
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
    columns = [list(row) for row in zip(*shown, strict=True)]
    return Table(columns, [width / len(shown)] * len(shown), style=style)


def benchmark_head(content: ReportContent) -> str:
    """The benchmark's name where it fits above a column, else `Benchmark`."""
    name = content.benchmark_name or ""
    return name if 0 < len(name) <= _LONGEST_HEAD else "Benchmark"


def comparisons(content: ReportContent, width: float) -> Table:
    """Index against benchmark over each window."""
    benchmark = benchmark_head(content)
    head = ["", "From", "Index", benchmark, "Difference", "Index p.a.", f"{benchmark} p.a."]
    rows = [[*head, "Volatility"]]
    for row in content.comparisons:
        if row.index_return is None:
            rows.append([row.label, "not enough data", *[NOTHING] * 6])
            continue
        marked = back_test.mark(content, back_test.of_comparison(content, row))
        rows.append(
            [
                f"{row.label}{marked}",
                day(row.base),
                percent(row.index_return, signed=True),
                percent(row.benchmark_return, signed=True),
                points(row.difference),
                percent(row.index_annual_return, signed=True),
                percent(row.benchmark_annual_return, signed=True),
                percent(row.index_annual_volatility),
            ]
        )
    unit = width / 12
    return grid(rows, [2.4 * unit, 1.5 * unit, *[1.35 * unit] * 6], extra=[bold(2)])


def facts(content: ReportContent, width: float) -> Table:
    """Key facts of the index."""
    benchmark = content.benchmark_name or "none"
    rows = [
        ["", ""],
        ["Strategy", words(content.strategy)],
        ["Rebalanced", words(content.frequency)],
        ["Constituents held", figure(len(content.holdings), 0)],
        ["Benchmark", theme.shortened(benchmark, 0.7 * width, CELL.fontSize)],
        ["Currency", content.currency],
        ["Base date", f"{day(content.inception)}, at {figure(content.series.level[0])}"],
        *_launch(content),
        ["Level", f"{figure(content.headline.level)} on {day(content.period.last)}"],
        ["Sharpe ratio since inception", figure(content.headline.sharpe_ratio)],
        ["Current drawdown", percent(content.headline.current_drawdown)],
        ["Turnover a year, one-way", _annual_turnover(content)],
    ]
    return grid(rows[1:], [0.5 * width, 0.5 * width], extra=_WITHOUT_HEAD)


def _launch(content: ReportContent) -> list[list[str]]:
    past = content.published_past
    return [] if past is None else [["Launch date", day(past.launched_at)]]


def _annual_turnover(content: ReportContent) -> str:
    if content.annual_turnover is None:
        return NOTHING
    return f"{percent(content.annual_turnover, 0)}, by {len(content.turnovers)} rebalances"


_WITHOUT_HEAD: Final = [
    ("FONT", (0, 0), (-1, 0), theme.REGULAR, 8, 10),
    ("TEXTCOLOR", (0, 0), (0, -1), theme.MUTED),
    ("TEXTCOLOR", (1, 0), (1, -1), theme.INK),
    ("LINEABOVE", (0, 0), (-1, 0), 0.7, theme.INK),
    ("LINEBELOW", (0, 0), (-1, 0), 0.3, theme.RULE),
]


def largest(content: ReportContent, width: float) -> Table:
    """The ten largest holdings, with a bar each."""
    top = content.holdings[:_TOP]
    unit = width / 12
    rows: list[list[Any]] = [
        [
            row.symbol,
            theme.shortened(row.name, 5.2 * unit, CELL.fontSize),
            Bar(row.weight / top[0].weight, 2.9 * unit),
            percent(row.weight),
        ]
        for row in top
    ]
    return grid(
        rows,
        [1.6 * unit, 5.4 * unit, 3.2 * unit, 1.8 * unit],
        extra=[
            ("FONT", (0, 0), (-1, 0), theme.REGULAR, 8, 10),
            ("LEFTPADDING", (1, 0), (1, -1), 0),
            ("FONT", (0, 0), (0, -1), theme.BOLD, 8, 10),
            ("TEXTCOLOR", (0, 0), (-1, 0), theme.INK),
            ("ALIGN", (1, 0), (2, -1), "LEFT"),
            ("LINEABOVE", (0, 0), (-1, 0), 0.7, theme.INK),
            ("LINEBELOW", (0, 0), (-1, 0), 0.3, theme.RULE),
        ],
    )


def drawdowns(content: ReportContent, width: float) -> Table:
    """The five deepest drawdowns."""
    rows = [["", "High", "Low", "Recovered", "Depth", "Sessions down", "Sessions back"]]
    rows += [
        [
            f"{rank}{back_test.mark(content, back_test.of_drawdown(content, fall))}",
            day(fall.start),
            day(fall.trough),
            day(fall.recovered) if fall.recovered else "not yet",
            percent(fall.depth),
            figure(fall.sessions_to_trough, 0),
            figure(fall.sessions_to_recovery, 0),
        ]
        for rank, fall in enumerate(content.drawdowns, start=1)
    ]
    unit = width / 12
    return grid(rows, [0.6 * unit, *[1.9 * unit] * 6], extra=[bold(4)])


def shown_metrics(content: ReportContent) -> list[Metric]:
    """The metrics of the table, over a year or more."""
    return [
        row for row in content.metrics if row.window in _WINDOWS and row.metric not in _ELSEWHERE
    ]


def metrics(content: ReportContent, width: float) -> Table:
    """Metrics over a year or more, index beside benchmark."""
    found = {(row.window, row.metric): row for row in shown_metrics(content)}
    windows = [window for window in _WINDOWS if window in {window for window, _ in found}]
    names = dict.fromkeys(metric for _, metric in found)
    rows = [
        ["", *(cell for window in windows for cell in (_window_head(content, window), ""))],
        ["", *["Index", benchmark_head(content)] * len(windows)],
    ]
    for name in names:
        cells = [found.get((window, name)) for window in windows]
        values = [(cell.index, cell.benchmark) if cell else (None, None) for cell in cells]
        # Alpha, beta and the like are against the benchmark, which has none of its own.
        nothing = all(theirs is None for _, theirs in values)
        shown = [
            "" if nothing and at % 2 else metric_value(name, value)
            for at, value in enumerate(value for pair in values for value in pair)
        ]
        rows.append([metric_label(name), *shown])
    columns = 2 * len(windows)
    first = width * 0.3
    muted = [("TEXTCOLOR", (at, 2), (at, -1), theme.MUTED) for at in range(2, columns + 1, 2)]
    spans = [("SPAN", (at, 0), (at + 1, 0)) for at in range(1, columns, 2)]
    widths = [first, *[(width - first) / columns] * columns]
    return grid(rows, widths, extra=[*spans, *muted], padding=1.7, heads=2)


def _window_head(content: ReportContent, window: str) -> str:
    marked = back_test.mark(content, back_test.of_window(content, window))
    return f"{window_label(window)}{marked}"


def months(content: ReportContent, width: float) -> Table:
    """Monthly returns in per cent, newest year first, shaded by size."""
    rows = [["", *MONTHS, "Year", benchmark_head(content)]]
    tints: list[tuple[Any, ...]] = []
    for line, year in enumerate(reversed(content.monthly_returns), start=1):
        marked = back_test.mark(content, back_test.of_year(content, year.year))
        rows.append(_year(year, marked))
        tints += [
            ("BACKGROUND", (column, line), (column, line), _tint(value))
            for column, value in enumerate(year.months, start=1)
            if value is not None
        ]
    unit = width / 15
    return grid(
        rows,
        [0.9 * unit, *[0.95 * unit] * 12, 1.1 * unit, 1.6 * unit],
        extra=[
            *tints,
            ("INNERGRID", (1, 1), (12, -1), 0.8, theme.WHITE),
            ("RIGHTPADDING", (1, 0), (12, -1), 3),
            bold(0),
            bold(13),
            ("TEXTCOLOR", (14, 1), (14, -1), theme.MUTED),
        ],
        padding=2.0,
    )


def _year(year: MonthlyReturns, marked: str) -> list[str]:
    cells = [
        "" if value is None else _per_cent(value) + ("*" if month in year.incomplete else "")
        for month, value in enumerate(year.months, start=1)
    ]
    return [
        f"{year.year}{marked}",
        *cells,
        _per_cent(year.year_return),
        _per_cent(year.benchmark_year_return),
    ]


def _per_cent(value: Number) -> str:
    return NOTHING if value is None else figure(100.0 * value, 1)


def _tint(value: float) -> str:
    strength = 0.06 + 0.5 * min(abs(value) / _STRONGEST, 1.0)
    return theme.blend(theme.ACCENT if value >= 0 else theme.BENCHMARK, strength)


def holdings(content: ReportContent, width: float) -> Table:
    """Every constituent held, with its contributions to return and risk."""
    contribution = {row.symbol: row.contribution for row in content.contributions}
    unit = width / 12
    rows: list[list[Any]] = [
        ["Constituent", "", "Sector", "Weight", "Target", "To return", "To risk", "Volatility"]
    ]
    rows += [
        [
            row.symbol,
            in_cell(row.name, 3.0 * unit),
            in_cell(row.sector, 2.3 * unit),
            percent(row.weight),
            percent(row.target_weight),
            points(contribution.get(row.symbol)),
            percent(row.risk_contribution, 1),
            percent(row.annual_volatility, 1),
        ]
        for row in content.holdings
    ]
    left = [row.contribution for row in content.contributions]
    held = {row.symbol for row in content.holdings}
    gone = [row.contribution for row in content.contributions if row.symbol not in held]
    if gone:
        rows.append(["", "Sold in the period", "", "", "", points(sum(gone)), "", ""])
    rows.append(
        [
            "Total",
            "",
            "",
            percent(sum(row.weight for row in content.holdings)),
            percent(sum(row.target_weight for row in content.holdings)),
            points(sum(left)) if left else NOTHING,
            percent(1.0, 1) if content.risk_sessions else NOTHING,
            "",
        ]
    )
    return grid(
        rows,
        [unit, 3.1 * unit, 2.4 * unit, *[1.1 * unit] * 5],
        extra=[
            ("ALIGN", (1, 0), (2, -1), "LEFT"),
            bold(0),
            bold(3),
            ("FONT", (0, -1), (-1, -1), theme.BOLD, 8, 10),
            ("LINEABOVE", (0, -1), (-1, -1), 0.7, theme.INK),
        ],
    )


def changes(content: ReportContent, width: float) -> Table:
    """The largest changes of weight at the last rebalance."""
    assert content.rebalance is not None  # noqa: S101  (pages.py checks it)
    unit = width / 12
    rows: list[list[Any]] = [["", "", "Before", "After", "Change"]]
    rows += [
        [
            row.symbol,
            in_cell(row.name, 5.0 * unit),
            percent(row.before),
            percent(row.after),
            points(row.change),
        ]
        for row in content.rebalance.changes[:_TOP]
    ]
    return grid(
        rows,
        [1.4 * unit, 5.1 * unit, 1.7 * unit, 1.7 * unit, 2.1 * unit],
        extra=[("ALIGN", (1, 0), (1, -1), "LEFT"), bold(0), bold(4)],
    )
