"""From inputs to content: the one place where a report's figures are made."""

from collections.abc import Mapping

import pandas as pd

from autoindex.reports import attribution, method, performance, periods
from autoindex.reports.content import (
    Allocations,
    Comparison,
    Contribution,
    Headline,
    Holding,
    Metric,
    Missing,
    Period,
    ReportContent,
    Series,
)
from autoindex.reports.inputs import AssetFacts, ReportInputs
from autoindex.reports.wording import day, in_a_sentence, moved, points
from autoindex.requests import ReportType

# A gap in closes is carried this far by the index too.
_CARRIED_SESSIONS = 5
_ADDS_UP = 1e-6


def compose(inputs: ReportInputs) -> ReportContent:
    """Everything the report says.

    Raises ReportImpossible where the index has too little history for its period. A smaller part
    that cannot be made is left empty and named in `missing`.
    """
    levels = inputs.levels.astype(float)
    benchmark = _benchmark(inputs, levels)
    period = periods.ending_at(len(levels) - 1, levels.index, inputs.report_type)
    previous = periods.before(period, levels.index, inputs.report_type)
    comparisons = performance.comparisons(levels, benchmark, period, previous)
    series = performance.series(levels, benchmark)
    closes = inputs.closes.sort_index().ffill(limit=_CARRIED_SESSIONS)
    weights = inputs.weights.loc[: levels.index[-1]]
    parts = attribution.contributions(levels, weights, closes, period, inputs.assets)
    held, risk_sessions = _holdings(inputs, weights, closes, levels.index[-1])
    rebalance = attribution.last_rebalance(weights, closes, inputs.assets)
    turnovers = attribution.turnovers(weights, closes)
    headline = _headline(levels, comparisons, series)
    return ReportContent(
        report_type=inputs.report_type,
        title=f"{inputs.index_name}: {inputs.report_type} report, {period.label}",
        index_name=inputs.index_name,
        benchmark_name=None if benchmark is None else inputs.benchmark_name,
        strategy=inputs.strategy,
        frequency=inputs.frequency,
        currency=inputs.currency,
        generated_at=inputs.generated_at,
        inception=levels.index[0].date(),
        period=period,
        previous_period=previous,
        summary=_summary(inputs, period, headline, comparisons, parts),
        headline=headline,
        comparisons=comparisons,
        metrics=_metrics(inputs.metrics, benchmark),
        series=series,
        drawdowns=performance.worst_drawdowns(levels),
        monthly_returns=performance.monthly_returns(levels, benchmark),
        allocations=_allocations(weights, inputs.assets),
        holdings=held,
        risk_sessions=risk_sessions,
        contributions=parts,
        rebalance=rebalance,
        turnovers=turnovers,
        yearly_turnover=attribution.by_year(turnovers),
        missing=_missing(
            {
                "previous_period": (previous is not None, "the index is younger than that period."),
                "benchmark": (benchmark is not None, "no benchmark close on the index's sessions."),
                "rolling_risk": (
                    series.rolling_volatility[-1] is not None,
                    f"it takes {series.rolling_sessions} returns.",
                ),
                "contributions": (bool(parts), "closes do not cover the period's holdings."),
                "holdings": (bool(held), "closes do not reach back to the last rebalance."),
                "risk": (
                    risk_sessions is not None,
                    f"it takes {attribution.SHORTEST_RISK} common sessions of closes.",
                ),
                "rebalance": (rebalance is not None, "it takes two rebalances and their closes."),
            }
        ),
        quality_notes=_notes(inputs, levels, headline, parts),
        method=method.paragraphs(inputs),
    )


def _benchmark(inputs: ReportInputs, levels: pd.Series) -> pd.Series | None:
    if inputs.benchmark is None:
        return None
    aligned = performance.align(inputs.benchmark.astype(float), levels.index)
    return None if aligned.isna().all() else aligned


def _holdings(
    inputs: ReportInputs, weights: pd.DataFrame, closes: pd.DataFrame, session: pd.Timestamp
) -> tuple[tuple[Holding, ...], int | None]:
    if weights.empty:
        return (), None
    return attribution.holdings(weights, inputs.units, closes, session, inputs.assets)


def _headline(levels: pd.Series, comparisons: tuple[Comparison, ...], series: Series) -> Headline:
    windows = {row.key: row for row in comparisons}
    annual_return, volatility, sharpe = performance.summary_metrics(levels)
    return Headline(
        level=float(levels.iloc[-1]),
        period_return=windows["period"].index_return or 0.0,
        benchmark_period_return=windows["period"].benchmark_return,
        period_difference=windows["period"].difference,
        year_to_date_return=windows["year_to_date"].index_return,
        annual_return=annual_return,
        annual_volatility=volatility,
        sharpe_ratio=sharpe,
        max_drawdown=min(series.drawdown),
        current_drawdown=series.drawdown[-1],
    )


def _metrics(
    stored: Mapping[str, Mapping[str, float | None]], benchmark: pd.Series | None
) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            window=window,
            metric=metric,
            index=None if value is None else performance.number(value),
            benchmark=None,
        )
        for window, values in stored.items()
        for metric, value in values.items()
    )


def _allocations(weights: pd.DataFrame, assets: Mapping[str, AssetFacts]) -> Allocations:
    held = weights.fillna(0.0)
    held = held.loc[:, (held > 0).any()]
    held = held[sorted(held.columns)]
    sectors = held.T.groupby(lambda symbol: attribution.sector_of(symbol, assets)).sum().T
    return Allocations(
        sessions=tuple(held.index.date),
        symbols=tuple(held.columns),
        weights=tuple(map(tuple, held.to_numpy().tolist())),
        sectors=tuple(sectors.columns),
        sector_weights=tuple(map(tuple, sectors.to_numpy().tolist())),
    )


def _summary(
    inputs: ReportInputs,
    period: Period,
    headline: Headline,
    comparisons: tuple[Comparison, ...],
    parts: tuple[Contribution, ...],
) -> str:
    sentences = [f"{inputs.index_name} {moved(headline.period_return)} {_when(inputs, period)}"]
    if headline.benchmark_period_return is not None and headline.period_difference is not None:
        sentences[0] += (
            f", while {inputs.benchmark_name} {moved(headline.benchmark_period_return)}: "
            f"a difference of {points(headline.period_difference)}."
        )
    else:
        sentences[0] += "."
    if len(parts) > 1:
        sentences.append(
            f"{parts[0].name} added most ({points(parts[0].contribution)}), "
            f"{parts[-1].name} least ({points(parts[-1].contribution)})."
        )
    year = next(row for row in comparisons if row.key == "year_to_date")
    if year.index_return is not None:
        sentences.append(f"Since the start of the year the index {moved(year.index_return)}.")
    return " ".join(sentences)


def _when(inputs: ReportInputs, period: Period) -> str:
    ending = "" if period.complete else f" (to {day(period.last)})"
    preposition = "on" if inputs.report_type is ReportType.DAILY else "in"
    return f"{preposition} {in_a_sentence(period.label)}{ending}"


def _missing(content_parts: Mapping[str, tuple[bool, str]]) -> tuple[Missing, ...]:
    return tuple(
        Missing(part=part, reason=f"Not enough data: {reason}")
        for part, (there, reason) in content_parts.items()
        if not there
    )


def _notes(
    inputs: ReportInputs,
    levels: pd.Series,
    headline: Headline,
    parts: tuple[Contribution, ...],
) -> tuple[str, ...]:
    notes = list(inputs.quality_notes)
    if parts and abs(sum(part.contribution for part in parts) - headline.period_return) > _ADDS_UP:
        notes.append(
            "The contributions do not add up to the period's return: closes or weights were "
            "changed after the index was computed."
        )
    behind = (inputs.generated_at.date() - levels.index[-1].date()).days
    if behind > 5:
        notes.append(f"The newest index level is {behind} days older than this report's data.")
    return tuple(notes)
