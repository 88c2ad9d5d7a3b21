"""The content of a report: the figures that the PDF, the workbook and the JSON share.

Returns, weights and drawdowns are fractions (0.01 is one per cent); contributions to return are
fractions of the index's level at the period's base and add up to the period's return.
"""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from autoindex.requests import ReportType
from autoindex.setting_types import Paper

SCHEMA_VERSION: Literal["1.1"] = "1.1"

Number = FiniteFloat | None


class Part(BaseModel):
    """A part of a report; frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Period(Part):
    """The sessions a report looks back on."""

    label: str = Field(description="The period in words, such as `December 2022`.")
    base: date = Field(description="The session whose close the period starts from.")
    first: date = Field(description="First session whose return belongs to the period.")
    last: date = Field(description="Last session of the period.")
    sessions: int = Field(ge=1, description="Sessions with a return.")
    complete: bool = Field(description="Whether the exchange's period has ended.")


class Comparison(Part):
    """Index against benchmark over one window; `null` where the window is longer than the data."""

    key: str = Field(description="Name of the window for programs, such as `year_to_date`.")
    label: str = Field(description="Name of the window for people.")
    base: date | None = Field(description="The session whose close the window starts from.")
    last: date | None
    index_return: Number
    benchmark_return: Number
    difference: Number = Field(description="Index minus benchmark, arithmetically.")
    index_annual_return: Number = Field(
        description="`null` below 252 returns, except over whole calendar years."
    )
    benchmark_annual_return: Number
    annual_difference: Number = Field(description="Of the annual returns, arithmetically.")
    index_annual_volatility: Number = Field(description="`null` below 60 returns.")
    benchmark_annual_volatility: Number


class Headline(Part):
    """The figures a reader sees first."""

    level: FiniteFloat
    period_return: FiniteFloat
    benchmark_period_return: Number
    period_difference: Number
    year_to_date_return: Number
    annual_return: Number = Field(
        description="Compounded, since inception, 252 sessions a year; `null` below 252 returns."
    )
    annual_volatility: Number = Field(description="`null` below 60 returns.")
    sharpe_ratio: Number = Field(description="`null` below 60 returns.")
    max_drawdown: FiniteFloat
    current_drawdown: FiniteFloat


class Series(Part):
    """Daily figures since inception; all lists have the length of `sessions`."""

    sessions: tuple[date, ...]
    level: tuple[FiniteFloat, ...]
    benchmark: tuple[Number, ...] = Field(
        description="Rebased to the index's level at its first common session."
    )
    drawdown: tuple[FiniteFloat, ...] = Field(description="Level over its highest so far, less 1.")
    benchmark_drawdown: tuple[Number, ...]
    rolling_volatility: tuple[Number, ...] = Field(description="Annual, over `rolling_sessions`.")
    benchmark_rolling_volatility: tuple[Number, ...]
    rolling_sharpe: tuple[Number, ...] = Field(description="With a risk-free rate of zero.")
    rolling_sessions: int


class Drawdown(Part):
    """One fall from a high, and the way back."""

    start: date = Field(description="Session of the high before the fall.")
    trough: date
    recovered: date | None = Field(description="First session back at the high; `null`: not yet.")
    depth: FiniteFloat
    sessions_to_trough: int
    sessions_to_recovery: int | None = Field(description="From the trough.")


class Metric(Part):
    """One measure over one window, index beside benchmark; `null` where the window is too short."""

    window: str
    metric: str = Field(description="Named as in `/index/metrics`.")
    index: Number
    benchmark: Number


class MonthlyReturns(Part):
    """One calendar year."""

    year: int
    months: tuple[Number, ...] = Field(min_length=12, max_length=12)
    year_return: FiniteFloat = Field(description="Of the months shown, compounded.")
    benchmark_year_return: Number
    incomplete: tuple[int, ...] = Field(description="Months of the year that are cut short.")

    @property
    def whole(self) -> bool:
        """Whether every month is there, with all its sessions."""
        return None not in self.months and not self.incomplete


class MonthReturn(Part):
    """One complete calendar month."""

    month: str = Field(description="As in `2022-12`.")
    index_return: FiniteFloat


class MonthStatistics(Part):
    """The complete months since inception."""

    months: int
    positive_share: FiniteFloat = Field(description="Fraction of the months above zero.")
    best: MonthReturn
    worst: MonthReturn


class Relation(Part):
    """How the index follows the benchmark since inception."""

    correlation: Number = Field(description="Of daily returns; `null` below 60.")
    up_capture: Number = Field(
        description="Compound annual return over that of the benchmark, in the complete months in "
        "which the benchmark rose; `null` below 12 common months."
    )
    down_capture: Number = Field(description="The same where the benchmark fell.")
    months: int = Field(description="Complete months in common.")


class Distribution(Part):
    """How many complete months had which return."""

    edges: tuple[FiniteFloat, ...] = Field(description="One more than steps; the lower one counts.")
    index_months: tuple[int, ...]
    benchmark_months: tuple[int, ...] | None


class Concentration(Part):
    """How the holdings are spread."""

    constituents: int
    ten_largest: FiniteFloat = Field(description="Weight of the ten largest.")
    effective_number: FiniteFloat = Field(description="Inverse of the sum of squared weights.")


class SectorWeight(Part):
    """One sector at the report's last session."""

    sector: str
    weight: FiniteFloat
    target_weight: FiniteFloat
    constituents: int


class Allocations(Part):
    """Target weights at each rebalance."""

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    weights: tuple[tuple[FiniteFloat, ...], ...] = Field(description="One row a session.")
    sectors: tuple[str, ...]
    sector_weights: tuple[tuple[FiniteFloat, ...], ...] = Field(description="One row a session.")


class Holding(Part):
    """One constituent at the report's last session."""

    symbol: str
    name: str
    sector: str
    weight: FiniteFloat = Field(description="Drifted with prices since the last rebalance.")
    target_weight: FiniteFloat = Field(description="As decided at the last rebalance.")
    units: Number = Field(description="Held behind one index.")
    close: FiniteFloat
    annual_volatility: Number
    risk_contribution: Number = Field(
        description="Share of the index's variance; the shares add up to 1."
    )


class Contribution(Part):
    """What one constituent added to the period's return."""

    symbol: str
    name: str
    price_return: Number = Field(description="Close over the close at the base, less 1.")
    contribution: FiniteFloat


class WeightChange(Part):
    """One constituent's weight just before and at a rebalance."""

    symbol: str
    name: str
    before: FiniteFloat
    after: FiniteFloat
    change: FiniteFloat


class Rebalance(Part):
    """The newest rebalance."""

    session: date
    turnover: Number = Field(description="Half the sum of the absolute changes.")
    entered: tuple[str, ...]
    left: tuple[str, ...]
    changes: tuple[WeightChange, ...]


class NextRebalance(Part):
    """What the next rebalance decides if every close stays as it is until then."""

    session: date
    decided_with: date = Field(description="The session of the closes.")
    turnover: FiniteFloat = Field(description="Half the sum of the absolute changes.")
    entered: tuple[str, ...]
    left: tuple[str, ...]
    changes: tuple[WeightChange, ...] = Field(description="From today's weights, largest first.")


class Turnover(Part):
    """One-way turnover of one rebalance."""

    session: date
    turnover: FiniteFloat


class YearlyTurnover(Part):
    """One-way turnover of a calendar year's rebalances, added up."""

    year: int
    turnover: FiniteFloat
    rebalances: int


class LevelChange(Part):
    """A published level that a later publication has replaced."""

    session: date
    old_level: FiniteFloat
    new_level: FiniteFloat
    cause: str
    published_at: datetime


class PendingCorrection(Part):
    """A correction that changes no level until a computation is asked to start at its session."""

    session: date
    symbol: str | None
    reason: str
    effect: Number = Field(description="Largest relative change of a level; `null`: not measured.")


class ProvisionalLevel(Part):
    """A level that was published without all prices."""

    session: date
    missing: tuple[str, ...] = Field(description="Symbols without their price.")


class PublishedPast(Part):
    """When the index was launched, and what has changed since in what was published."""

    launched_at: datetime
    back_tested_until: date = Field(
        description="The levels up to this session are those of the launch, computed backwards."
    )
    provisional: tuple[ProvisionalLevel, ...]
    changes: tuple[LevelChange, ...] = Field(
        description="Made since the close of the period's base, newest first."
    )
    pending: tuple[PendingCorrection, ...] = Field(description="By session.")


class Missing(Part):
    """A part that could not be made, and why."""

    part: str
    reason: str


class Paragraph(Part):
    """A heading and what stands under it."""

    title: str
    text: str


class Imprint(Part):
    """Who publishes the report, which task has made it, and on which paper."""

    publisher: str | None = None
    contact: str | None = None
    task_id: UUID | None = None
    paper: Paper = "a4"


class ReportContent(Part):
    """Everything one report says."""

    schema_version: Literal["1.1"] = SCHEMA_VERSION
    report_type: ReportType
    title: str
    index_name: str
    benchmark_name: str | None
    strategy: str
    frequency: str
    currency: str
    generated_at: datetime
    inception: date
    period: Period
    previous_period: Period | None
    summary: str
    headline: Headline
    comparisons: tuple[Comparison, ...]
    metrics: tuple[Metric, ...]
    series: Series
    drawdowns: tuple[Drawdown, ...] = Field(description="The five deepest, deepest first.")
    monthly_returns: tuple[MonthlyReturns, ...]
    allocations: Allocations
    holdings: tuple[Holding, ...] = Field(description="Heaviest first.")
    risk_sessions: int | None = Field(description="Sessions behind the contributions to risk.")
    contributions: tuple[Contribution, ...] = Field(description="Largest first.")
    rebalance: Rebalance | None
    turnovers: tuple[Turnover, ...]
    yearly_turnover: tuple[YearlyTurnover, ...]
    annual_turnover: Number = Field(
        description="One-way: mean of `turnovers` times the rebalances of a year (252, 52, 12, 4); "
        "`null` below so many."
    )
    published_past: PublishedPast | None = None
    month_statistics: MonthStatistics | None
    relation: Relation | None
    distribution: Distribution | None = Field(description="`null` below 12 complete months.")
    concentration: Concentration | None
    sectors: tuple[SectorWeight, ...] = Field(description="Heaviest first.")
    next_rebalance: NextRebalance | None
    rebalance_calendar: tuple[date, ...] = Field(description="The next rebalance sessions.")
    sample_data: bool = Field(description="Whether prices are the sandbox's.")
    imprint: Imprint
    missing: tuple[Missing, ...]
    quality_notes: tuple[str, ...]
    method: tuple[Paragraph, ...]
