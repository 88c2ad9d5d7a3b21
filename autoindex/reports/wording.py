"""Formats figures, dates and labels for people."""

from collections.abc import Iterable
from datetime import date
from typing import Final

from autoindex.reports.content import Number, PendingCorrection, Period, ReportContent
from autoindex.requests import ReportType

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
# The numbers are those of `index.metrics`, whose imports the terminal does without.
ENOUGH: Final = (
    "annual return, Calmar ratio and alpha take 252 returns or a calendar year, volatility and "
    "other ratios 60, a year's turnover a year of rebalances"
)
FOOTNOTE: Final = f"{NOTHING} Not enough data: {ENOUGH}."

_CURRENT = {
    ReportType.DAILY: "day",
    ReportType.WEEKLY: "week",
    ReportType.MONTHLY: "month",
    ReportType.QUARTERLY: "quarter",
}

_METRICS = {
    "total_return": "Return",
    "annual_return": "Annual return",
    "annual_volatility": "Annual volatility",
    "sharpe_ratio": "Sharpe ratio",
    "sortino_ratio": "Sortino ratio",
    "calmar_ratio": "Calmar ratio",
    "max_drawdown": "Maximum drawdown",
    "current_drawdown": "Current drawdown",
    "value_at_risk_95": "Value at risk, 1 day, 95%",
    "value_at_risk_99": "Value at risk, 1 day, 99%",
    "conditional_value_at_risk_95": "Expected shortfall, 1 day, 95%",
    "conditional_value_at_risk_99": "Expected shortfall, 1 day, 99%",
    "alpha": "Alpha, annual",
    "beta": "Beta",
    "tracking_error": "Tracking error",
    "information_ratio": "Information ratio",
}
_RATIOS = frozenset({"sharpe_ratio", "sortino_ratio", "calmar_ratio", "beta", "information_ratio"})


def percent(value: Number, places: int = 2, *, signed: bool = False) -> str:
    """0.0123 as `1.23%`, with a true minus sign; a dash where there is no value."""
    if value is None:
        return NOTHING
    return f"{figure(100.0 * value, places, signed=signed)}%"


def short_percent(value: float) -> str:
    """0.025 as `2.5%` and 0.2 as `20%`: as many places as it takes, for axes."""
    return f"{100.0 * value:.6g}%".replace("-", MINUS)


def figure(value: Number, places: int = 2, *, signed: bool = False) -> str:
    """A number with thousands separators and a true minus sign; a dash where there is none."""
    if value is None:
        return NOTHING
    text = f"{abs(value):,.{places}f}"
    if not text.strip("0.,"):
        return text
    return f"{MINUS if value < 0 else '+' if signed else ''}{text}"


def points(value: Number) -> str:
    """A difference of two returns, in percentage points."""
    return NOTHING if value is None else f"{figure(100.0 * value, signed=True)} pp"


def day(value: date | None) -> str:
    """`28 Dec 2022`; a dash where there is no date."""
    return NOTHING if value is None else f"{value.day} {value:%b %Y}"


def footnote(values: Iterable[Number]) -> str:
    """Why some of these figures are a dash; empty where none is."""
    return FOOTNOTE if any(value is None for value in values) else ""


def words(name: str) -> str:
    """`inverse_volatility` as `Inverse volatility`."""
    return name.replace("_", " ").capitalize()


def is_ratio(metric: str) -> bool:
    """Whether a metric is a plain number rather than a fraction shown in per cent."""
    return metric in _RATIOS


def metric_value(metric: str, value: Number) -> str:
    """A metric for people: a ratio as a number, the others in per cent."""
    return figure(value) if is_ratio(metric) else percent(value)


def metric_label(metric: str) -> str:
    """The metric's name for people."""
    return _METRICS.get(metric, words(metric))


def subtitle(content: ReportContent) -> str:
    """`Monthly report. December 2022, 1 Dec 2022 to 28 Dec 2022, month to date`."""
    period, kind = content.period, content.report_type
    parts = [period.label]
    if kind is not ReportType.DAILY:
        parts.append(f"{day(period.first)} to {day(period.last)}")
    if ending := to_date(period, kind):
        parts.append(ending)
    return f"{kind.capitalize()} report. {', '.join(parts)}"


def return_label(content: ReportContent) -> str:
    """The label of the period's return: `Month to date`, or `Return of the month` in the end."""
    ending = to_date(content.period, content.report_type)
    return ending.capitalize() or f"Return of the {_CURRENT[content.report_type]}"


def to_date(period: Period, report_type: ReportType) -> str:
    """`month to date` for a period that has not ended, else empty."""
    return "" if period.complete else f"{_CURRENT[report_type]} to date"


def moved(value: float) -> str:
    """`rose 1.20%`, `fell 0.31%` or `was unchanged`."""
    if not percent(value).strip("0.%"):
        return "was unchanged"
    return f"{'rose' if value > 0 else 'fell'} {percent(abs(value))}"


def in_a_sentence(label: str) -> str:
    """A period's label inside a sentence: `week 52 of 2022`, but `December 2022`."""
    return label[0].lower() + label[1:] if label.startswith(("Week", "Quarter")) else label


def correction_cause(one: PendingCorrection) -> str:
    """Why a correction is pending: `closes changed: KO from 12 Jan 2021`."""
    return f"{one.reason}: {one.symbol or '?'} from {day(one.session)}"


_UNITS = {"M": "month", "Y": "year"}


def window_label(window: str) -> str:
    """A metrics window for people: `3Y` as `3 years`, `all` as `Since inception`."""
    if window == "all":
        return "Since inception"
    if window == "YTD":
        return "Year to date"
    count, unit = window[:-1], _UNITS.get(window[-1:])
    if unit is None or not count.isdigit():
        return words(window)
    return f"{count} {unit}{'' if count == '1' else 's'}"
