"""The method page: how the figures are computed, and what flatters them."""

from typing import Final

from autoindex import sessions
from autoindex.reports.content import Paragraph
from autoindex.reports.inputs import ReportInputs
from autoindex.reports.wording import ENOUGH, day, words

_STRATEGIES: Final = {
    "composite": (
        "A blend of momentum (40%), market capitalisation (30%) and inverse volatility (30%)."
    ),
    "equal_weight": "Every constituent has the same weight.",
    "inverse_volatility": "Weights are inverse to the volatility of the last 60 sessions.",
    "market_cap": "Weights are in proportion to shares outstanding times the close.",
    "momentum": "Weights are in proportion to the positive return of the last 20 sessions.",
    "risk_parity": "Every constituent adds the same risk, by the last 60 sessions.",
}


def paragraphs(inputs: ReportInputs) -> tuple[Paragraph, ...]:
    """Method, metrics, sources and caveats for these inputs."""
    return (
        Paragraph(title="Index", text=_index(inputs)),
        Paragraph(title="Returns and risk", text=_metrics()),
        Paragraph(title="Contributions and turnover", text=_attribution()),
        Paragraph(title="What flatters these figures", text=_flatters(inputs)),
        *_published(inputs),
        Paragraph(title="Sources", text=_sources(inputs)),
        Paragraph(title="Please note", text=_notice()),
    )


def _index(inputs: ReportInputs) -> str:
    rule = _STRATEGIES.get(inputs.strategy, words(inputs.strategy) + ".")
    return (
        f"{rule} At a rebalance no constituent weighs more than 40% (or its equal share, if "
        "that is more), and none less than 1% (or half of its equal share, if that is less). "
        f"Weights are decided {inputs.frequency}, at the close of the first session of the period, "
        "from closes up to and including that session; they earn their first return on the "
        "session after. In between, holdings drift with prices. The index starts at 100, costs "
        "nothing to trade and pays no fees."
    )


def _metrics() -> str:
    return (
        "Returns are compounded from closing levels. Annual figures assume 252 sessions a year, "
        f"and nothing shorter is annualised: {ENOUGH}. Volatility is the sample standard "
        "deviation of daily returns. The Sharpe ratio takes a risk-free rate of zero. A drawdown "
        "is measured from the highest close so far. Value at risk and expected shortfall are "
        "historical."
    )


def _attribution() -> str:
    return (
        "A constituent's contribution to return is its weight at the close before, times its "
        "return, times the level before, added up over the period and divided by the level at the "
        "period's base: the contributions add up to the period's return. Its contribution to risk "
        "is its share of the variance of the current holdings, from the sample covariance of up to "
        "252 sessions. Turnover is one-way: half the sum of the absolute weight changes. "
        "A year's is the mean of the rebalances times 252, 52, 12 or 4: as many as a year has. "
        "The effective number of constituents is 1 over the sum of the squared weights. Capture is "
        "the compound annual return over the benchmark's, in the complete months in which the "
        "benchmark rose (up) or fell (down); correlation is of daily returns."
    )


def _flatters(inputs: ReportInputs) -> str:
    adjusted = "splits only: dividends are left out"
    benchmark = ""
    if inputs.sample_data:
        adjusted = "splits and dividends"
    if inputs.benchmark is not None and inputs.sample_data:
        benchmark = (
            f" The benchmark ({inputs.benchmark_name}) leaves dividends out, so the "
            "comparison favours the index by about the dividend yield, every year."
        )
    return (
        f"The constituents' prices are adjusted for {adjusted}.{benchmark} Constituents without "
        "dates are in the index from its beginning, and before a constituent's first share count "
        f"market capitalisation uses that count{_shares(inputs)}: nobody could have known either "
        "then. "
        "Trading costs, taxes and slippage are left out. All of this makes the past look better "
        "than it would have been."
    )


def _published(inputs: ReportInputs) -> list[Paragraph]:
    past = inputs.published_past
    if past is None:
        return []
    text = (
        f"The index was launched on {day(past.launched_at)} with the levels up to "
        f"{day(past.back_tested_until)}: a back-test, which nobody could have followed. Since then "
        "a published level changes only by a new version with a cause, and every earlier version "
        "is kept. A level that was published without all prices is provisional until they come."
    )
    return [Paragraph(title="Launch and corrections", text=text)]


def _shares(inputs: ReportInputs) -> str:
    dates = sorted(
        facts.shares_outstanding_date
        for facts in inputs.assets.values()
        if facts.shares_outstanding_date
    )
    if not dates:
        return ""
    if dates[0] == dates[-1]:
        return f", that of {day(dates[0])}"
    return f", that of {day(dates[0])} to {day(dates[-1])}"


def _sources(inputs: ReportInputs) -> str:
    source = "served by Twelve Data"
    if inputs.sample_data:
        source = "sample data of the sandbox that stands in for a provider"
    prices = f"Daily closes of {len(inputs.assets)} constituents in {inputs.currency}, {source}"
    code = sessions.calendar_code()
    exchange = "New York Stock Exchange" if code == "XNYS" else f"exchange {code}"
    return f"{prices}. Trading sessions are those of the {exchange}."


def _notice() -> str:
    return (
        "This report is information, not advice and not an offer. Past performance, and most of "
        "all performance that was computed backwards, says little about the future."
    )
