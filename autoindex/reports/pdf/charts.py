"""The charts: from a report's content to matplotlib figures, sizes in points."""

from datetime import date
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from autoindex.reports import theme
from autoindex.reports.content import ReportContent
from autoindex.reports.figures.history import rebased
from autoindex.reports.pdf.plot import Floats, Plot, days, floats
from autoindex.reports.wording import day, percent, short_percent
from autoindex.reports.wording import figure as number_text

REBALANCES: Final = 36
_LOG_FROM: Final = 4.0
_RECENT_SESSIONS: Final = 5 * 252
_SHORT_PERIOD: Final = 10
_AROUND_SHORT_PERIOD: Final = 21
_BARS: Final = 20
_BAR_HEIGHT: Final = 11.0
_FEWEST_YEARS: Final = 7
_FEWEST_STEPS: Final = 8
# Of a chart's width: names beside the plot must leave room for it.
_WIDEST_NAME: Final = 0.3


def growth(content: ReportContent, width: float, height: float) -> Figure:
    """Index and benchmark since inception; on a log scale once the index has grown fourfold."""
    series = content.series
    at, level = days(series.sessions), floats(series.level)
    plot = Plot(width, height)
    plot.index(at, level, content.index_name)
    _back_test(plot, at, content)
    plot.benchmark(at, floats(series.benchmark), content.benchmark_name)
    plot.time_axis(at)
    if is_logarithmic(content):
        plot.log_axis(lambda value: number_text(value, 0))
    else:
        plot.value_axis(lambda value: f"{value:,.6g}")
    return plot.figure


def is_logarithmic(content: ReportContent) -> bool:
    """Whether `growth` has a log scale."""
    return max(content.series.level) > _LOG_FROM * min(content.series.level)


def recent(content: ReportContent, width: float, height: float) -> Figure:
    """Return of index and benchmark over at most the last five years, on a linear scale."""
    return _from_zero(content, width, height, recent_start(content))


def recent_start(content: ReportContent) -> int:
    """Position of the session that `recent` starts from."""
    return max(len(content.series.sessions) - 1 - _RECENT_SESSIONS, 0)


def period(content: ReportContent, width: float, height: float) -> Figure:
    """Return of index and benchmark over the period, or 21 sessions where it has under 10."""
    # Its legend has no room for more names: the caption says what the shade is.
    return _from_zero(content, width, height, period_start(content), named=False)


def period_start(content: ReportContent) -> int:
    """Position of the session that `period` starts from."""
    base = content.series.sessions.index(content.period.base)
    if content.period.sessions >= _SHORT_PERIOD:
        return base
    return max(len(content.series.sessions) - 1 - _AROUND_SHORT_PERIOD, 0)


def benchmark_start(content: ReportContent, start: int) -> int | None:
    """Position of the benchmark's first close from position `start` on; None where it has none."""
    there = (
        at for at, value in enumerate(content.series.benchmark[start:], start) if value is not None
    )
    return next(there, None)


def _from_zero(
    content: ReportContent, width: float, height: float, start: int, *, named: bool = True
) -> Figure:
    series = content.series
    at = days(series.sessions[start:])
    level = floats(series.level[start:])
    # Where the benchmark begins later, its line joins the index's there.
    benchmark = rebased(level, floats(series.benchmark[start:]))
    plot = Plot(width, height)
    plot.index(at, level / level[0] - 1.0, content.index_name)
    _back_test(plot, at, content, named=named)
    plot.benchmark(at, benchmark / level[0] - 1.0, content.benchmark_name)
    plot.time_axis(at)
    plot.value_axis(short_percent, zero=True)
    return plot.figure


def _back_test(plot: Plot, at: Floats, content: ReportContent, *, named: bool = True) -> None:
    past = content.published_past
    if past is not None:
        until = past.back_tested_until
        name = f"Back-tested until {day(until)}" if named else None
        plot.back_test(at, float(days([until])[0]), name)


def drawdown(content: ReportContent, width: float, height: float) -> Figure:
    """Depth below the highest close so far: the index filled, the benchmark dashed."""
    series = content.series
    at, depth = days(series.sessions), floats(series.drawdown)
    plot = Plot(width, height)
    plot.axes.fill_between(at, depth, 0.0, color=theme.ACCENT_TINT, linewidth=0, zorder=1.0)
    plot.index(at, depth, content.index_name)
    plot.benchmark(at, floats(series.benchmark_drawdown), content.benchmark_name)
    plot.axes.set_ylim(top=0.0)
    plot.time_axis(at)
    plot.value_axis(short_percent, zero=True)
    return plot.figure


def rolling_volatility(content: ReportContent, width: float, height: float) -> Figure:
    """Annual volatility of index and benchmark over the rolling window."""
    series = content.series
    at = days(series.sessions)
    plot = Plot(width, height)
    plot.index(at, floats(series.rolling_volatility), content.index_name)
    benchmark = floats(series.benchmark_rolling_volatility)
    plot.benchmark(at, benchmark, content.benchmark_name)
    plot.time_axis(at)
    plot.value_axis(short_percent, zero=True, floor=0.0)
    return plot.figure


def rolling_sharpe(content: ReportContent, width: float, height: float) -> Figure:
    """Sharpe ratio of the index over the rolling window."""
    at = days(content.series.sessions)
    plot = Plot(width, height)
    plot.index(at, floats(content.series.rolling_sharpe), content.index_name)
    plot.time_axis(at)
    plot.value_axis(lambda value: number_text(value, 0), zero=True)
    return plot.figure


def allocations(content: ReportContent, width: float, height: float) -> Figure:
    """Target weights by sector, stacked, today's largest at the bottom, names at the right.

    Only the last `REBALANCES`: more steps would not be legible.
    """
    table = content.allocations
    weights = np.array(table.sector_weights[-REBALANCES:], dtype=np.float64)
    order = np.argsort(-weights[-1], kind="stable")
    at = days((*table.sessions[-REBALANCES:], content.period.last))
    stacked = np.vstack([weights, weights[-1:]])[:, order]
    names = [
        f"{theme.shortened(table.sectors[i], _WIDEST_NAME * width, 7.0)} "
        f"{percent(float(weights[-1, i]), 1)}"
        for i in order
    ]
    gutter = 10.0 + max(theme.text_width(name, 7.0) for name in names)
    plot = Plot(width, height, gutter=gutter, top=4.0)
    tops = np.cumsum(stacked, axis=1)
    for top, own, shade in zip(tops.T, stacked.T, theme.shades(len(order)), strict=True):
        plot.axes.fill_between(
            at, top - own, top, step="post", facecolor=shade, edgecolor="white", linewidth=0.7
        )
    plot.axes.set_ylim(0.0, 1.0)
    plot.time_axis(at)
    middle = tops[-1] - stacked[-1] / 2.0
    _stack_names(plot, at[-1], middle[stacked[-1] > 0.0], names, height)
    return plot.figure


def _stack_names(plot: Plot, x: float, places: Floats, names: list[str], height: float) -> None:
    """A name beside each step, moved where it would cover another or leave the plot."""
    apart = 8.5 / height
    shown = places[: int(0.9 / apart)]
    for at in range(1, len(shown)):
        shown[at] = max(shown[at], shown[at - 1] + apart)
    highest = 1.0 + apart
    for at in reversed(range(len(shown))):
        highest = shown[at] = min(shown[at], highest - apart)
        plot.text(x, shown[at], f"  {names[at]}", va="center")


def contributions(content: ReportContent, width: float, height: float) -> Figure:
    """Contributions to the period's return as bars; the largest in size as far as there is room."""
    room = min(int(height / _BAR_HEIGHT), _BARS)
    rows = sorted(content.contributions, key=lambda row: -abs(row.contribution))[:room]
    rows.sort(key=lambda row: row.contribution)
    values = np.array([row.contribution for row in rows], dtype=np.float64)
    plot = Plot(width, height, gutter=0.1, top=2.0)
    colours = [theme.ACCENT if value >= 0 else theme.LOSS for value in values]
    plot.axes.barh(np.arange(len(rows)), values, height=0.66, color=colours)
    plot.axes.axvline(0.0, color=theme.INK, linewidth=0.5)
    size = max(float(np.abs(values).max()), 1e-9)
    left = -1.4 * max(float(-values.min()), 0.3 * size)
    right = 1.4 * max(float(values.max()), 0.3 * size)
    plot.axes.set_xlim(left, right)
    plot.axes.set_ylim(-0.6, max(len(rows), 10) - 0.4)
    gap = 0.012 * (right - left)
    for y, row in enumerate(rows):
        up = row.contribution >= 0
        side = gap if up else -gap
        text = number_text(100.0 * row.contribution, signed=True)
        own, other = ("left", "right") if up else ("right", "left")
        plot.text(row.contribution + side, y, text, va="center", ha=own)
        plot.text(-side, y, row.symbol, va="center", ha=other, bold=True)
    return plot.figure


def years(content: ReportContent, width: float, height: float) -> Figure:
    """Returns of the calendar years, index beside benchmark."""
    rows = content.monthly_returns
    at = days([date(row.year, 1, 1) for row in rows])
    plot = Plot(width, height)
    plot.index_bars(at + 20.0, [row.year_return for row in rows], content.index_name)
    theirs = floats([row.benchmark_year_return for row in rows])
    plot.benchmark_bars(at + 190.0, theirs, content.benchmark_name)
    plot.time_axis(at, until=_end_of_years(at))
    plot.value_axis(short_percent, zero=True)
    return plot.figure


def _end_of_years(at: Floats) -> float:
    """Room for a bar each year, and for some more where the index is young: bars stay narrow."""
    return float(max(at[-1], at[0] + _FEWEST_YEARS * 365.0) + 365.0)


def turnover(content: ReportContent, width: float, height: float) -> Figure:
    """One-way turnover by calendar year."""
    rows = content.yearly_turnover
    at = days([date(row.year, 1, 1) for row in rows])
    plot = Plot(width, height, top=4.0)
    plot.axes.bar(at + 182.0, [row.turnover for row in rows], width=250.0, color=theme.ACCENT)
    plot.time_axis(at, until=_end_of_years(at))
    plot.value_axis(short_percent, floor=0.0)
    return plot.figure


def distribution(content: ReportContent, width: float, height: float) -> Figure:
    """How many complete months had which return, index beside benchmark."""
    found = content.distribution
    assert found is not None  # noqa: S101  (pages.py checks it)
    plot = Plot(width, height)
    at = np.arange(len(found.index_months), dtype=np.float64)
    plot.bars(at + 0.08, floats(found.index_months), content.index_name, theme.ACCENT, 0.4)
    if found.benchmark_months is not None and content.benchmark_name is not None:
        theirs = floats(found.benchmark_months)
        plot.bars(at + 0.52, theirs, content.benchmark_name, theme.BENCHMARK, 0.4)
    plot.axes.set_xlim(0.0, max(len(at), _FEWEST_STEPS))
    plot.foot([float(tick) for tick in range(len(found.edges))], [*map(short_percent, found.edges)])
    plot.value_axis(lambda value: number_text(value, 0), floor=0.0)
    return plot.figure
