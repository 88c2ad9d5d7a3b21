"""Composes a report's content from its inputs: every figure is computed here, once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from autoindex import labels
from autoindex.index.metrics import FEWEST_FOR_RISK
from autoindex.reports import method, summary
from autoindex.reports.content import (
    Allocations,
    Comparison,
    Contribution,
    Headline,
    Missing,
    ReportContent,
    Series,
)
from autoindex.reports.figures import (
    attribution,
    concentration,
    months,
    performance,
    periods,
    risk,
    turnover,
)
from autoindex.reports.figures.history import Floats, History
from autoindex.reports.figures.portfolio import Portfolio
from autoindex.reports.inputs import AssetFacts, ReportInputs
from autoindex.reports.wording import day

_ADDS_UP: Final = 1e-6
_OLD_DAYS: Final = 5
_UNNAMED: Final = "Benchmark"


def compose(inputs: ReportInputs) -> ReportContent:
    """The whole content of a report.

    Raises `ReportImpossible` where the index has too little history for the period. Any other part
    without enough data is left empty and named in `missing`.
    """
    name = labels.shown(inputs.benchmark_name, labels.LONGEST_NAME) or _UNNAMED
    inputs = replace(inputs, benchmark_name=name)
    history = History.align(inputs.levels, inputs.benchmark)
    last = history.sessions[-1]
    portfolio = Portfolio.align(inputs.weights, inputs.closes, last)
    period = periods.ending_at(len(history) - 1, history.sessions, inputs.report_type)
    previous = periods.before(period, history.sessions, inputs.report_type)
    comparisons = performance.comparisons(history, period, previous, inputs.report_type)
    series = risk.series(history)
    headline = _headline(history, comparisons, series)
    parts = attribution.contributions(history, portfolio, period, inputs.assets)
    held, risk_sessions = attribution.holdings(portfolio, inputs.units, last, inputs.assets)
    rebalance = turnover.last_rebalance(portfolio, inputs.assets)
    turnovers = turnover.turnovers(portfolio)
    content = ReportContent(
        report_type=inputs.report_type,
        title=f"{inputs.index_name}: {inputs.report_type} report, {period.label}",
        index_name=inputs.index_name,
        benchmark_name=inputs.benchmark_name if history.has_benchmark else None,
        strategy=inputs.strategy,
        frequency=inputs.frequency,
        currency=inputs.currency,
        generated_at=inputs.generated_at,
        inception=history.sessions[0].date(),
        period=period,
        previous_period=previous,
        summary="",
        headline=headline,
        comparisons=comparisons,
        metrics=performance.metrics(inputs.metrics, inputs.benchmark_metrics),
        series=series,
        drawdowns=risk.worst_drawdowns(history),
        monthly_returns=months.monthly_returns(history),
        allocations=_allocations(portfolio, inputs.assets),
        holdings=held,
        risk_sessions=risk_sessions,
        contributions=parts,
        rebalance=rebalance,
        turnovers=turnovers,
        yearly_turnover=turnover.by_year(turnovers),
        annual_turnover=turnover.annual(turnovers, inputs.frequency),
        published_past=inputs.published_past,
        month_statistics=months.statistics(history),
        relation=months.relation(history),
        distribution=months.distribution(history),
        concentration=concentration.concentration(held),
        sectors=concentration.sectors(held),
        next_rebalance=turnover.next_rebalance(inputs.pro_forma, last, inputs.assets),
        rebalance_calendar=turnover.calendar(last, inputs.frequency),
        sample_data=inputs.sample_data,
        imprint=inputs.imprint,
        missing=(),
        quality_notes=_notes(inputs, history, headline, parts),
        method=method.paragraphs(inputs),
    )
    return content.model_copy(
        update={"summary": summary.sentences(content), "missing": _missing(content, history)}
    )


def _headline(history: History, comparisons: tuple[Comparison, ...], series: Series) -> Headline:
    windows = {row.key: row for row in comparisons}
    return Headline(
        level=float(history.level[-1]),
        period_return=windows["period"].index_return or 0.0,
        benchmark_period_return=windows["period"].benchmark_return,
        period_difference=windows["period"].difference,
        year_to_date_return=windows["year_to_date"].index_return,
        annual_return=windows["inception"].index_annual_return,
        annual_volatility=windows["inception"].index_annual_volatility,
        sharpe_ratio=performance.metric("sharpe_ratio", history.level),
        max_drawdown=min(series.drawdown),
        current_drawdown=series.drawdown[-1],
    )


def _allocations(portfolio: Portfolio, assets: Mapping[str, AssetFacts]) -> Allocations:
    sector = [attribution.sector_of(symbol, assets) for symbol in portfolio.symbols]
    sectors = sorted(set(sector))
    member = np.array([[name == own for own in sectors] for name in sector], dtype=np.float64)
    by_sector = portfolio.targets @ member.reshape(len(sector), len(sectors))
    return Allocations(
        sessions=tuple(portfolio.rebalances.date.tolist()),
        symbols=portfolio.symbols,
        weights=_rows(portfolio.targets),
        sectors=tuple(sectors),
        sector_weights=_rows(by_sector),
    )


def _rows(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))


def _missing(content: ReportContent, history: History) -> tuple[Missing, ...]:
    series = content.series
    parts = {
        "previous_period": (content.previous_period, "the index is younger than that period"),
        "benchmark": (content.benchmark_name, "no benchmark close on the index's sessions"),
        "benchmark_history": (
            content.benchmark_name is None or history.uncovered.empty,
            _uncovered(content, history),
        ),
        "rolling_risk": (
            series.rolling_volatility[-1] is not None,
            f"it takes {series.rolling_sessions} returns",
        ),
        "contributions": (content.contributions, "closes do not cover the period's holdings"),
        "holdings": (content.holdings, "closes do not reach back to the last rebalance"),
        "risk": (
            content.risk_sessions,
            f"it takes {FEWEST_FOR_RISK} common sessions of closes",
        ),
        "rebalance": (content.rebalance, "it takes two rebalances and the closes in between"),
    }
    return tuple(
        Missing(part=part, reason=f"Not enough data: {reason}.")
        for part, (there, reason) in parts.items()
        if not there
    )


def _uncovered(content: ReportContent, history: History) -> str:
    if history.uncovered.empty:
        return ""
    return (
        f"{content.benchmark_name} has no close on {len(history.uncovered):,} sessions up to "
        f"{day(history.uncovered[-1].date())}, and what needs them is left empty"
    )


def _notes(
    inputs: ReportInputs,
    history: History,
    headline: Headline,
    parts: tuple[Contribution, ...],
) -> tuple[str, ...]:
    notes = list(inputs.quality_notes)
    if (past := inputs.published_past) is not None:
        notes += [
            f"The level of {day(one.session)} is provisional: published without "
            f"{labels.listed(one.missing)}."
            for one in past.provisional
        ]
    explained = sum(part.contribution for part in parts)
    if parts and abs(explained - headline.period_return) > _ADDS_UP:
        notes.append(
            "The contributions do not add up to the period's return: closes or weights were "
            "changed after the index was computed."
        )
    age = (pd.Timestamp(inputs.generated_at.date()) - history.sessions[-1]).days
    if age > _OLD_DAYS:
        notes.append(f"The newest index level was {age} days old when this report was made.")
    return tuple(notes)
