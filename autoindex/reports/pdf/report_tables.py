"""The tables of figures on the later pages of the PDF."""

from calendar import month_abbr
from typing import Any, Final

from reportlab.platypus import Table

from autoindex.reports import back_test, theme
from autoindex.reports.content import Metric, MonthlyReturns, Number, ReportContent
from autoindex.reports.pdf.fact_tables import benchmark_head
from autoindex.reports.pdf.flowables import bold, grid, in_cell
from autoindex.reports.wording import (
    NOTHING,
    day,
    figure,
    metric_label,
    metric_value,
    percent,
    points,
    window_label,
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
_STRONGEST: Final = 0.12


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
    """The metrics of the table, over a year or more, without those that no window has."""
    rows = [row for row in content.metrics if row.window in _WINDOWS]
    there = {row.metric for row in rows if row.index is not None} - _ELSEWHERE
    windows = {row.window for row in rows if row.index is not None}
    return [row for row in rows if row.metric in there and row.window in windows]


def metrics(content: ReportContent, width: float) -> Table:
    """Metrics over a year or more, index beside benchmark where there is one."""
    found = {(row.window, row.metric): row for row in shown_metrics(content)}
    windows = [window for window in _WINDOWS if window in {window for window, _ in found}]
    heads = ["Index", benchmark_head(content)] if content.benchmark_name else ["Index"]
    each = len(heads)
    gap = [""] * (each - 1)
    rows = [
        ["", *(cell for window in windows for cell in (_window_head(content, window), *gap))],
        ["", *heads * len(windows)],
    ]
    for name in dict.fromkeys(metric for _, metric in found):
        cells = [found.get((window, name)) for window in windows]
        values = [(cell.index, cell.benchmark)[:each] if cell else (None,) * each for cell in cells]
        # Alpha, beta and the like are against the benchmark, which has none of its own.
        nothing = all(pair[-1] is None for pair in values)
        shown = [
            "" if nothing and at % each else metric_value(name, value)
            for at, value in enumerate(value for pair in values for value in pair)
        ]
        rows.append([metric_label(name), *shown])
    columns = each * len(windows)
    first = width * 0.3
    extra: list[tuple[Any, ...]] = []
    if each > 1:
        extra += [("TEXTCOLOR", (at, 2), (at, -1), theme.MUTED) for at in range(2, columns + 1, 2)]
        extra += [("SPAN", (at, 0), (at + 1, 0)) for at in range(1, columns, 2)]
    widths = [first, *[(width - first) / columns] * columns]
    return grid(rows, widths, extra=extra, padding=1.7, heads=2)


def _window_head(content: ReportContent, window: str) -> str:
    marked = back_test.mark(content, back_test.of_window(content, window))
    return f"{window_label(window)}{marked}"


def months(content: ReportContent, width: float) -> Table:
    """Monthly returns in per cent, newest year first, shaded by size."""
    theirs = [benchmark_head(content)] if content.benchmark_name else []
    rows = [["", *MONTHS, "Year", *theirs]]
    tints: list[tuple[Any, ...]] = []
    for line, year in enumerate(reversed(content.monthly_returns), start=1):
        marked = back_test.mark(content, back_test.of_year(content, year.year))
        rows.append(_year(year, marked)[: len(rows[0])])
        tints += [
            ("BACKGROUND", (column, line), (column, line), _tint(value))
            for column, value in enumerate(year.months, start=1)
            if value is not None
        ]
    unit = width / 15
    return grid(
        rows,
        [0.9 * unit, *[0.95 * unit] * 12, 1.1 * unit, *[1.6 * unit for _ in theirs]],
        extra=[
            *tints,
            ("INNERGRID", (1, 1), (12, -1), 0.8, theme.WHITE),
            ("RIGHTPADDING", (1, 0), (12, -1), 3),
            bold(0),
            bold(13),
            *[("TEXTCOLOR", (14, 1), (14, -1), theme.MUTED) for _ in theirs],
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
        _of_year(year, year.year_return),
        _of_year(year, year.benchmark_year_return),
    ]


def _of_year(year: MonthlyReturns, value: Number) -> str:
    return _per_cent(value) + ("" if year.whole or value is None else "*")


def _per_cent(value: Number) -> str:
    return NOTHING if value is None else figure(100.0 * value, 1)


def _tint(value: float) -> str:
    strength = 0.06 + 0.5 * min(abs(value) / _STRONGEST, 1.0)
    return theme.blend(theme.ACCENT if value >= 0 else theme.LOSS, strength)


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
