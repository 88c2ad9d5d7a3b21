"""The frame of every chart: one pixel is one point, and all plots have the same edges.

Gridlines run to the figure's right edge, where their labels are drawn beside the plot.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from autoindex.reports import theme
from autoindex.reports.content import Number

Floats = NDArray[np.float64]

LABEL_SIZE: Final = 7.0
_GUTTER: Final = 34.0
_TOP: Final = 16.0
_BOTTOM: Final = 14.0
_LONG: Final = 1_500
_HALF_A_YEAR: Final = 160.0
_WIDEST_LEGEND: Final = 0.4
_FEW_SESSIONS: Final = 8
_MOST_WEEKS: Final = 7
_DASHES: Final = (0, (3.0, 1.2))
_LEVELS: Final = tuple(unit * 10**power for power in range(7) for unit in (1, 2, 5))

_STYLE: Final[Any] = {
    "font.family": theme.FONT_FAMILY,
    "font.size": LABEL_SIZE,
    "path.simplify": True,
    # In points: well below the width of a line.
    "path.simplify_threshold": 0.3,
    "text.parse_math": False,
}


@contextmanager
def style() -> Iterator[None]:
    """The look of the charts; a figure must be both made and drawn inside."""
    theme.register_fonts()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A character missing in the typeface is drawn as an empty box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


class Plot:
    """One set of axes in a figure of `width` by `height` points."""

    def __init__(
        self, width: float, height: float, *, gutter: float = _GUTTER, top: float = _TOP
    ) -> None:
        self.figure = Figure(figsize=(width / 72.0, height / 72.0), dpi=72)
        self.figure.patch.set_visible(False)
        self._width = width - gutter
        self._edge = width / self._width
        self._height = height - top - _BOTTOM
        self._legend_at = 0.0
        self.axes: Axes = self.figure.add_axes(
            (0.0, _BOTTOM / height, self._width / width, self._height / height)
        )
        self.axes.set_axis_off()

    def index(self, days: Floats, values: Floats, name: str) -> None:
        """The index's line: solid, in the accent."""
        width = 0.8 if len(days) > _LONG else 1.3
        look: dict[str, Any] = {"color": theme.ACCENT, "linewidth": width}
        self.axes.plot(days, values, solid_joinstyle="round", **look)
        self._legend(name, {**look, "linewidth": 1.3})

    def benchmark(self, days: Floats, values: Floats, name: str | None) -> None:
        """The benchmark's line: dashed and grey; nothing where there is no benchmark."""
        if name is None or np.isnan(values).all():
            return
        width = 0.6 if len(days) > _LONG else 1.0
        look: dict[str, Any] = {
            "color": theme.BENCHMARK,
            "linewidth": width,
            "linestyle": _DASHES,
        }
        self.axes.plot(days, values, zorder=1.5, **look)
        self._legend(name, {**look, "linewidth": 1.0})

    def back_test(self, days: Floats, until: float, name: str | None) -> None:
        """Shade the days up to `until`; nothing where none is earlier. No name, no legend."""
        if until <= days[0]:
            return
        end = min(until, days[-1])
        self.axes.axvspan(days[0], end, facecolor=theme.SHADE, linewidth=0, zorder=0.1)
        # The shade alone is too pale to be seen by everybody.
        look: dict[str, Any] = {"color": theme.MUTED, "linewidth": 2.0, "solid_capstyle": "butt"}
        across = self.axes.get_xaxis_transform()
        self.axes.plot([days[0], end], [0.0, 0.0], transform=across, zorder=0.7, **look)
        if end < days[-1]:
            self.axes.axvline(end, color=theme.MUTED, linewidth=0.5, zorder=0.6)
        if name is not None:
            self._legend(name, look)

    def index_bars(self, starts: Floats, values: Sequence[float] | Floats, name: str) -> None:
        """A bar of half a year from each of `starts`, in the accent."""
        self.bars(starts, values, name, theme.ACCENT, _HALF_A_YEAR)

    def benchmark_bars(self, starts: Floats, values: Floats, name: str | None) -> None:
        """The benchmark's bars: grey; nothing where there is no benchmark."""
        if name is not None and not np.isnan(values).all():
            self.bars(starts, values, name, theme.BENCHMARK, _HALF_A_YEAR)

    def bars(
        self,
        starts: Floats,
        values: Sequence[float] | Floats,
        name: str,
        colour: str,
        width: float,
    ) -> None:
        """A bar from each of `starts` to the right."""
        self.axes.bar(starts, values, width=width, align="edge", color=colour)
        self._legend(name, {"color": colour, "linewidth": 5.0, "solid_capstyle": "butt"})

    def _legend(self, name: str, look: dict[str, Any]) -> None:
        x, y = self._legend_at, 1.0 + 9.0 / self._height
        self.axes.plot(
            [x / self._width, (x + 16.0) / self._width],
            [y, y],
            transform=self.axes.transAxes,
            clip_on=False,
            **look,
        )
        room = min(self._width - x - 20.0, _WIDEST_LEGEND * self._width)
        name = theme.shortened(name, room, LABEL_SIZE)
        self.text((x + 20.0) / self._width, y, name, transform=self.axes.transAxes, va="center")
        self._legend_at += 36.0 + theme.text_width(name, LABEL_SIZE)

    def text(self, x: float, y: float, words: str, *, bold: bool = False, **more: Any) -> None:
        """Text at a position in the plot."""
        self.axes.text(
            x,
            y,
            words,
            **{
                "fontsize": LABEL_SIZE,
                "color": theme.INK,
                "fontweight": 600 if bold else 400,
                **more,
            },
        )

    def time_axis(self, days: Floats, *, until: float | None = None) -> None:
        """The time axis below the plot, with ticks of years, months or sessions, by the span.

        It ends with the last day, or at `until`, without a tick after the last day.
        """
        self.axes.set_xlim(days[0], until or max(days[-1], days[0] + 1.0))
        if until is None:
            self.foot(*_time_ticks(days))
        else:
            self.foot(*_starts(days, "Y", "%Y"))

    def foot(self, ticks: Sequence[float], labels: Sequence[str]) -> None:
        """The line below the plot, with ticks and labels as far as they do not overlap."""
        across = self.axes.get_xaxis_transform()
        below = -9.5 / self._height
        low, high = self.axes.get_xlim()
        taken = -np.inf
        for tick, label in zip(ticks, labels, strict=True):
            at = (tick - low) / (high - low) * self._width
            half = theme.text_width(label, LABEL_SIZE) / 2.0
            if at - half < taken:
                continue
            taken = max(at, half) + half + 4.0
            self.axes.plot(
                [tick, tick],
                [0.0, -2.5 / self._height],
                transform=across,
                clip_on=False,
                color=theme.MUTED,
                linewidth=0.5,
            )
            side = "left" if at < half else "center"
            self.text(tick, below, label, transform=across, ha=side, color=theme.MUTED)
        self.axes.plot(
            [0.0, self._edge],
            [0.0, 0.0],
            transform=self.axes.transAxes,
            clip_on=False,
            color=theme.MUTED,
            linewidth=0.5,
        )

    def value_axis(
        self, label: Callable[[float], str], *, zero: bool = False, floor: float | None = None
    ) -> None:
        """Gridlines at round values; `zero` stresses the line at 0, `floor` is the lowest value."""
        low, high = self.axes.get_ylim()
        low = low if floor is None else floor
        self.axes.set_ylim(low, high)
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        self._grid([tick for tick in ticks if low <= tick <= high], label, strong=zero)

    def log_axis(self, label: Callable[[float], str]) -> None:
        """A logarithmic scale with gridlines at 1, 2 and 5 times powers of ten."""
        self.axes.set_yscale("log")
        low, high = self.axes.get_ylim()
        self._grid([tick for tick in _LEVELS if low <= tick <= high], label, strong=False)

    def _grid(self, ticks: Sequence[float], label: Callable[[float], str], *, strong: bool) -> None:
        along = self.axes.get_yaxis_transform()
        for tick in ticks:
            heavy = strong and abs(tick) < 1e-12
            self.axes.plot(
                [0.0, self._edge],
                [tick, tick],
                transform=along,
                clip_on=False,
                color=theme.MUTED if heavy else theme.RULE,
                linewidth=0.6 if heavy else 0.4,
                zorder=0.5,
            )
            self.axes.annotate(
                label(tick),
                (self._edge, tick),
                xytext=(0.0, 1.8),
                xycoords=along,
                textcoords="offset points",
                ha="right",
                va="baseline",
                color=theme.MUTED,
                fontsize=LABEL_SIZE,
                annotation_clip=False,
            )


def days(sessions: Sequence[date]) -> Floats:
    """Sessions as numbers: days since 1970."""
    return np.array(sessions, dtype="datetime64[D]").astype(np.float64)


def floats(values: Sequence[Number]) -> Floats:
    """Numbers as an array, NaN for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _time_ticks(at: Floats) -> tuple[list[float], list[str]]:
    span = float(at[-1] - at[0])
    if span <= 100.0:
        return _sessions(at)
    return _starts(at, "Y", "%Y") if span > 3 * 366.0 else _starts(at, "M", "%b %Y")


def _sessions(at: Floats) -> tuple[list[float], list[str]]:
    """Every session of a few, else the first ones of weeks."""
    chosen = at
    if len(at) > _FEW_SESSIONS:
        # The first day of 1970 was a Thursday.
        weeks = (at + 3) // 7
        chosen = at[1:][np.diff(weeks) > 0]
        chosen = chosen[:: -(-len(chosen) // _MOST_WEEKS)]
    stamps = chosen.astype("datetime64[D]").tolist()
    return chosen.tolist(), [f"{day.day} {day:%b}" for day in stamps]


def _starts(at: Floats, unit: str, look: str) -> tuple[list[float], list[str]]:
    """Starts of years or months, no more than nine, on round numbers."""
    first, last = (at[[0, -1]].astype("datetime64[D]").astype(f"datetime64[{unit}]")).astype(int)
    steps = (1, 2, 5, 10, 20) if unit == "Y" else (1, 2, 3, 6, 12)
    step = next((step for step in steps if (last - first) / step <= 9), steps[-1])
    # Years count from 1970, itself a multiple of 1, 2, 5 and 10; months from January.
    starts = np.arange(first + (-first) % step, last + 1, step).astype(f"datetime64[{unit}]")
    starts = starts[starts.astype("datetime64[D]").astype(np.float64) >= at[0]]
    ticks = starts.astype("datetime64[D]")
    return ticks.astype(np.float64).tolist(), [f"{day:{look}}" for day in ticks.tolist()]
