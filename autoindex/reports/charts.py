"""The charts, as matplotlib figures: one point a pixel, margins in points so that charts align."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from autoindex.reports import theme
from autoindex.reports.content import Number, ReportContent
from autoindex.reports.wording import figure as figure_text
from autoindex.reports.wording import percent

_LEFT: Final = 0.0
_RIGHT: Final = 44.0
_TOP: Final = 8.0
_BOTTOM: Final = 16.0
_LABEL_SIZE: Final = 7.0
_LEVELS: Final = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
_LOG_FROM: Final = 4.0

_STYLE: Final = {
    "font.family": theme.FONT_FAMILY,
    "font.size": _LABEL_SIZE,
    "axes.linewidth": 0.5,
    "axes.edgecolor": theme.RULE,
    "xtick.color": theme.MUTED,
    "ytick.color": theme.MUTED,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0.0,
    "xtick.major.width": 0.5,
    "path.simplify": True,
    # In points: a quarter of one is well below what print resolves.
    "path.simplify_threshold": 0.25,
    "text.parse_math": False,
    "axes.unicode_minus": True,
}


@contextmanager
def style() -> Iterator[None]:
    """The look of the charts; a figure must be both made and drawn inside."""
    theme.register_fonts()
    with mpl.rc_context(_STYLE):
        yield


def _axes(width: float, height: float, *, right: float = _RIGHT, left: float = _LEFT) -> Axes:
    figure = Figure(figsize=(width / 72.0, height / 72.0), dpi=72)
    axes = figure.add_axes(
        (
            left / width,
            _BOTTOM / height,
            (width - left - right) / width,
            (height - _TOP - _BOTTOM) / height,
        )
    )
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.grid(axis="y", color=theme.RULE, linewidth=0.35)
    axes.set_axisbelow(True)
    axes.yaxis.tick_right()
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    return axes


def _figure(axes: Axes) -> Figure:
    figure = axes.figure
    assert isinstance(figure, Figure)  # noqa: S101  (a subfigure is never used here)
    return figure


def _days(sessions: Sequence[date]) -> NDArray[np.float64]:
    return np.array(sessions, dtype="datetime64[D]").astype(np.float64)


def _values(values: Sequence[Number]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _time_axis(axes: Axes, days: NDArray[np.float64]) -> None:
    axes.set_xlim(days[0], days[-1])
    if days[-1] - days[0] > 3 * 365:
        axes.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=5, maxticks=9))
        axes.xaxis.set_major_formatter(mdates.DateFormatter("%Y"))
    else:
        locator = mdates.AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.DateFormatter("%-d %b"))


def _percent_axis(axes: Axes, places: int = 0) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, places)))


def _label_ends(
    axes: Axes, labels: Sequence[tuple[float, str, str]], x: float, *, log: bool = False
) -> None:
    """Names at the right end of the lines instead of a legend, pushed apart where they touch."""
    low, high = axes.get_ylim()
    scale = np.log if log else np.asarray
    gap = 9.0 / (axes.bbox.height or 1.0) * float(scale(high) - scale(low))
    placed = float("-inf")
    for value, text, colour in sorted(labels):
        at = max(float(scale(value)), placed + gap)
        placed = at
        axes.text(
            x,
            float(np.exp(at)) if log else at,
            f" {text}",
            color=colour,
            fontsize=_LABEL_SIZE,
            fontweight=600,
            va="center",
        )


def _legend(axes: Axes, names: Sequence[str | None]) -> None:
    """Swatch and name of each line, above the plot, in the order drawn."""
    lines = [line for line in axes.get_lines() if line.get_gid() == "series"]
    x = 0.0
    width = float(axes.bbox.width)
    top = 1.0 + 2.0 / float(axes.bbox.height)
    for line, name in zip(lines, names, strict=False):
        if name is None:
            continue
        axes.plot(
            [x / width, (x + 14) / width],
            [top, top],
            transform=axes.transAxes,
            clip_on=False,
            color=line.get_color(),
            linewidth=line.get_linewidth(),
            linestyle=line.get_linestyle(),
        )
        axes.text(
            (x + 17) / width, top, name, transform=axes.transAxes, va="center", color=theme.INK
        )
        x += 17 + 3.6 * len(name) + 16


def _line(axes: Axes, days: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    axes.plot(days, values, color=theme.ACCENT, linewidth=1.1, gid="series")


def _benchmark_line(axes: Axes, days: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    axes.plot(
        days, values, color=theme.BENCHMARK, linewidth=0.9, linestyle=(0, (3, 1.2)), gid="series"
    )


def growth(content: ReportContent, width: float, height: float) -> Figure:
    """Index and benchmark since inception; a log scale once the index has grown fourfold."""
    series = content.series
    days, level = _days(series.sessions), _values(series.level)
    axes = _axes(width, height)
    benchmark = _values(series.benchmark)
    if content.benchmark_name:
        _benchmark_line(axes, days, benchmark)
    _line(axes, days, level)
    spread = np.nanmax(level) / np.nanmin(level)
    if spread > _LOG_FROM:
        axes.set_yscale("log")
        shown = [
            tick
            for tick in _LEVELS
            if np.nanmin([level.min(), np.nanmin(benchmark, initial=np.inf)]) * 0.9
            <= tick
            <= level.max() * 1.1
        ]
        axes.yaxis.set_major_locator(FixedLocator(shown))
        axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:,}" for tick in shown]))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: figure_text(value, 0)))
    _time_axis(axes, days)
    names = [content.benchmark_name] if content.benchmark_name else []
    _legend(axes, [*names, content.index_name])
    return _figure(axes)


def period(content: ReportContent, width: float, height: float) -> Figure:
    """Index and benchmark over the period, both from 0% at its base."""
    series = content.series
    start = series.sessions.index(content.period.base)
    days = _days(series.sessions[start:])
    level, benchmark = _values(series.level[start:]), _values(series.benchmark[start:])
    axes = _axes(width, height)
    axes.axhline(0.0, color=theme.MUTED, linewidth=0.5)
    if content.benchmark_name:
        _benchmark_line(axes, days, benchmark / benchmark[0] - 1.0)
    _line(axes, days, level / level[0] - 1.0)
    _percent_axis(axes, 1)
    _time_axis(axes, days)
    names = [content.benchmark_name] if content.benchmark_name else []
    _legend(axes, [*names, content.index_name])
    return _figure(axes)


def drawdown(content: ReportContent, width: float, height: float) -> Figure:
    """Depth below the highest close so far, index filled, benchmark dashed."""
    series = content.series
    days = _days(series.sessions)
    axes = _axes(width, height)
    values = _values(series.drawdown)
    axes.fill_between(days, values, 0.0, color=theme.ACCENT_TINT, linewidth=0)
    if content.benchmark_name:
        _benchmark_line(axes, days, _values(series.benchmark_drawdown))
    _line(axes, days, values)
    axes.set_ylim(top=0.0)
    _percent_axis(axes)
    _time_axis(axes, days)
    names = [content.benchmark_name] if content.benchmark_name else []
    _legend(axes, [*names, content.index_name])
    return _figure(axes)


def rolling_volatility(content: ReportContent, width: float, height: float) -> Figure:
    """Annual volatility of index and benchmark over the rolling window."""
    series = content.series
    axes = _axes(width, height)
    days = _days(series.sessions)
    if content.benchmark_name:
        _benchmark_line(axes, days, _values(series.benchmark_rolling_volatility))
    _line(axes, days, _values(series.rolling_volatility))
    axes.set_ylim(bottom=0.0)
    _percent_axis(axes)
    _time_axis(axes, days)
    names = [content.benchmark_name] if content.benchmark_name else []
    _legend(axes, [*names, content.index_name])
    return _figure(axes)


def rolling_sharpe(content: ReportContent, width: float, height: float) -> Figure:
    """Sharpe ratio of the index over the rolling window."""
    series = content.series
    axes = _axes(width, height)
    days = _days(series.sessions)
    axes.axhline(0.0, color=theme.MUTED, linewidth=0.5)
    _line(axes, days, _values(series.rolling_sharpe))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: figure_text(value, 0)))
    _time_axis(axes, days)
    _legend(axes, [content.index_name])
    return _figure(axes)


def allocations(content: ReportContent, width: float, height: float) -> Figure:
    """Target weights by sector, stacked; the largest sector today at the bottom, names at the end."""
    table = content.allocations
    weights = np.array(table.sector_weights, dtype=np.float64)
    order = np.argsort(-weights[-1], kind="stable")
    days = _days((*table.sessions, content.period.last))
    stacked = np.vstack([weights[:, order], weights[-1:, order]])
    axes = _axes(width, height, right=112.0)
    bottom = np.zeros(len(days))
    for column, shade in zip(stacked.T, theme.shades(len(order)), strict=True):
        top = bottom + column
        axes.fill_between(
            days, bottom, top, step="post", facecolor=shade, edgecolor=theme.WHITE, linewidth=0.3
        )
        bottom = top
    axes.set_ylim(0.0, 1.0)
    axes.yaxis.tick_left()
    axes.set_yticks([])
    _time_axis(axes, days)
    ends = np.cumsum(stacked[-1]) - stacked[-1] / 2.0
    labels = [
        (float(end), f"{table.sectors[i]} {percent(float(weights[-1, i]), 1)}", theme.INK)
        for end, i in zip(ends, order, strict=True)
        if weights[-1, i] > 0
    ]
    _label_ends(axes, labels, days[-1])
    return _figure(axes)


def contributions(content: ReportContent, width: float, height: float) -> Figure:
    """Contributions to the period's return as bars; the ten largest in size where there are more."""
    rows = sorted(content.contributions, key=lambda row: -abs(row.contribution))[:12]
    rows.sort(key=lambda row: row.contribution)
    values = np.array([row.contribution for row in rows])
    axes = _axes(width, height, right=4.0, left=4.0)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    at = np.arange(len(rows))
    axes.barh(
        at,
        values,
        height=0.62,
        color=[theme.ACCENT if value >= 0 else theme.BENCHMARK for value in values],
    )
    axes.axvline(0.0, color=theme.INK, linewidth=0.5)
    room = max(float(np.abs(values).max()), 1e-9)
    axes.set_xlim(-1.75 * room, 1.75 * room)
    for y, row in zip(at, rows, strict=True):
        side = 1.0 if row.contribution >= 0 else -1.0
        axes.text(
            row.contribution + side * 0.04 * room,
            y,
            percent(row.contribution, signed=True),
            va="center",
            ha="left" if side > 0 else "right",
            color=theme.INK,
        )
        axes.text(
            -side * 0.04 * room,
            y,
            row.symbol,
            va="center",
            ha="right" if side > 0 else "left",
            color=theme.INK,
            fontweight=600,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    return _figure(axes)


def turnover(content: ReportContent, width: float, height: float) -> Figure:
    """One-way turnover by calendar year."""
    rows = content.yearly_turnover
    axes = _axes(width, height)
    years = np.array([row.year for row in rows])
    axes.bar(years, [row.turnover for row in rows], width=0.7, color=theme.ACCENT)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    _percent_axis(axes)
    return _figure(axes)
