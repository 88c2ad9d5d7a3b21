"""The tables of facts: headline, windows, key facts, holdings, sectors, trades."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from reportlab.platypus import Table, TableStyle

from autoindex.reports import back_test, theme
from autoindex.reports.content import ReportContent, WeightChange
from autoindex.reports.pdf.flowables import CELL, Bar, bold, grid, in_cell
from autoindex.reports.wording import (
    NOTHING,
    day,
    figure,
    percent,
    points,
    return_label,
    words,
)

_LONGEST_HEAD: Final = 10
# With "p.a." behind it.
_LONGEST_SHORT_HEAD: Final = 7
_TOP: Final = 10


def tiles(content: ReportContent, width: float) -> Table:
    """The headline figures in a row, as many as there are."""
    head = content.headline
    found = [
        (f"Level, {day(content.period.last)}", figure(head.level), True),
        (return_label(content), percent(head.period_return, signed=True), True),
        ("Against benchmark", points(head.period_difference), head.period_difference),
        ("Year to date", percent(head.year_to_date_return, signed=True), head.year_to_date_return),
        ("Annual return", percent(head.annual_return, signed=True), head.annual_return),
        ("Annual volatility", percent(head.annual_volatility), head.annual_volatility),
        ("Maximum drawdown", percent(head.max_drawdown), True),
    ]
    shown = [(label, text) for label, text, value in found if value is not None]
    style = TableStyle(
        [
            ("FONT", (0, 0), (-1, 0), theme.REGULAR, 7.5, 9),
            ("TEXTCOLOR", (0, 0), (-1, 0), theme.MUTED),
            ("FONT", (0, 1), (-1, 1), theme.BOLD, 13.5, 17),
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
    return Table(columns, [width / len(shown)] * len(shown), style=style, hAlign="LEFT")


def benchmark_head(content: ReportContent) -> str:
    """The benchmark's name where it fits above a column, else `Benchmark`."""
    name = content.benchmark_name or ""
    return name if 0 < len(name) <= _LONGEST_HEAD else "Benchmark"


def _short(benchmark: str) -> str:
    return benchmark if len(benchmark) <= _LONGEST_SHORT_HEAD else "Bench."


def windows(content: ReportContent, keys: Sequence[str] = ()) -> list[list[str]]:
    """Index against benchmark over each window that the index has, or those of `keys`.

    The first row has the heads. A column without any figure is left out.
    """
    benchmark = benchmark_head(content)
    rows = [
        row
        for row in content.comparisons
        if row.index_return is not None and (not keys or row.key in keys)
    ]
    columns = {
        "From": [day(row.base) for row in rows],
        "Index": [percent(row.index_return, signed=True) for row in rows],
        benchmark: [percent(row.benchmark_return, signed=True) for row in rows],
        "Difference": [points(row.difference) for row in rows],
        "Index p.a.": [percent(row.index_annual_return, signed=True) for row in rows],
        f"{_short(benchmark)} p.a.": [
            percent(row.benchmark_annual_return, signed=True) for row in rows
        ],
        "Diff. p.a.": [points(row.annual_difference) for row in rows],
        "Volatility": [percent(row.index_annual_volatility) for row in rows],
    }
    there = {head: cells for head, cells in columns.items() if {*cells} != {NOTHING}}
    labels = [
        f"{row.label}{back_test.mark(content, back_test.of_comparison(content, row))}"
        for row in rows
    ]
    return [["", *there], *([*cells] for cells in zip(labels, *there.values(), strict=True))]


def comparisons(rows: Sequence[Sequence[str]], width: float) -> Table:
    """The table of `windows`."""
    # Differences are in points, whose unit takes more room.
    shares = [1.2 if head in ("Index", "Difference") else 1.0 for head in rows[0][1:]]
    unit = 0.8 * width / sum(shares)
    return grid(rows, [0.2 * width, *(unit * share for share in shares)], extra=[bold(2)])


def facts(content: ReportContent, width: float) -> Table:
    """Key facts of the index, as many as there are."""
    head, past, spread = content.headline, content.published_past, content.concentration
    benchmark = content.benchmark_name
    rows = {
        "Strategy": words(content.strategy),
        "Rebalanced": _rebalanced(content),
        "Constituents held": figure(spread.constituents, 0) if spread else NOTHING,
        "Effective number of them": figure(spread.effective_number, 1) if spread else NOTHING,
        "Weight of the ten largest": percent(spread.ten_largest) if spread else NOTHING,
        "Benchmark": theme.shortened(benchmark or NOTHING, 0.7 * width, CELL.fontSize),
        "Currency": content.currency,
        "Base date": f"{day(content.inception)}, at {figure(content.series.level[0])}",
        "Launch date": day(past.launched_at) if past else NOTHING,
        "Sharpe ratio since inception": figure(head.sharpe_ratio),
        "Turnover a year, one-way": _annual_turnover(content),
    }
    return _facts(rows, width)


def _facts(rows: dict[str, str], width: float) -> Table:
    there = [[label, text] for label, text in rows.items() if text != NOTHING]
    muted = ("TEXTCOLOR", (0, 0), (0, -1), theme.MUTED)
    return grid(there, [0.5 * width, 0.5 * width], extra=[muted], heads=0)


def _rebalanced(content: ReportContent) -> str:
    days = content.rebalance_calendar
    following = f", next on {day(days[0])}" if days else ""
    return f"{words(content.frequency)}{following}"


def _annual_turnover(content: ReportContent) -> str:
    if content.annual_turnover is None:
        return NOTHING
    return f"{percent(content.annual_turnover, 0)}, by {len(content.turnovers)} rebalances"


def months_and_benchmark(content: ReportContent, width: float) -> Table:
    """The best and worst month, the share of positive ones, capture and correlation."""
    months, other = content.month_statistics, content.relation
    rows = {}
    if months is not None:
        rows = {
            "Complete months": figure(months.months, 0),
            "Positive months": percent(months.positive_share, 0),
            "Best month": _month(months.best.month, months.best.index_return),
            "Worst month": _month(months.worst.month, months.worst.index_return),
        }
    if other is not None:
        rows |= {
            "Correlation with the benchmark": figure(other.correlation),
            "Up capture": percent(other.up_capture, 0),
            "Down capture": percent(other.down_capture, 0),
        }
    return _facts(rows, width)


def _month(month: str, value: float) -> str:
    return f"{percent(value, signed=True)}, {date.fromisoformat(f'{month}-01'):%B %Y}"


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
            ("LEFTPADDING", (1, 0), (1, -1), 0),
            ("FONT", (0, 0), (0, -1), theme.BOLD, 8, 10),
            ("ALIGN", (1, 0), (2, -1), "LEFT"),
        ],
        heads=0,
    )


def sectors(content: ReportContent, width: float) -> Table:
    """The twelve heaviest sectors, and the others in one row."""
    rows = content.sectors
    unit = width / 12
    cells: list[list[Any]] = [["Sector", "Held", "Weight", "Target"]]
    shown = 12 if len(rows) > 13 else len(rows)
    cells += [
        [
            theme.shortened(row.sector, 5.2 * unit, CELL.fontSize),
            figure(row.constituents, 0),
            percent(row.weight),
            percent(row.target_weight),
        ]
        for row in rows[:shown]
    ]
    if others := rows[shown:]:
        cells.append(
            [
                f"{len(others)} others",
                figure(sum(row.constituents for row in others), 0),
                percent(sum(row.weight for row in others)),
                percent(sum(row.target_weight for row in others)),
            ]
        )
    return grid(cells, [5.4 * unit, 1.8 * unit, 2.4 * unit, 2.4 * unit], extra=[bold(2)])


def movers(content: ReportContent, width: float) -> Table:
    """The five largest and the five smallest contributions, with the returns behind them."""
    rows = content.contributions
    shown = rows if len(rows) <= _TOP else (*rows[: _TOP // 2], *rows[-_TOP // 2 :])
    unit = width / 12
    cells = [["", "", "Return", "Added"]]
    cells += [
        [
            row.symbol,
            theme.shortened(row.name, 5.0 * unit, CELL.fontSize),
            percent(row.price_return, signed=True),
            points(row.contribution),
        ]
        for row in shown
    ]
    left = ("ALIGN", (1, 0), (1, -1), "LEFT")
    return grid(cells, [1.6 * unit, 5.2 * unit, 2.4 * unit, 2.8 * unit], extra=[left, bold(0)])


def changes(rows: Sequence[WeightChange], width: float, count: int = _TOP) -> Table:
    """The largest changes of weight at a rebalance."""
    unit = width / 12
    cells: list[list[Any]] = [["", "", "Before", "After", "Change"]]
    cells += [
        [
            row.symbol,
            in_cell(row.name, 5.0 * unit, lines=1),
            percent(row.before),
            percent(row.after),
            points(row.change),
        ]
        for row in rows[:count]
    ]
    return grid(
        cells,
        [1.4 * unit, 5.1 * unit, 1.7 * unit, 1.7 * unit, 2.1 * unit],
        extra=[("ALIGN", (1, 0), (1, -1), "LEFT"), bold(0), bold(4)],
    )
