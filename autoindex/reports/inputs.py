"""The inputs of a report: plain frames, as the caller read them from storage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import pandas as pd

from autoindex.errors import ReportImpossible
from autoindex.index.pro_forma import ProForma
from autoindex.reports.content import Imprint, PublishedPast
from autoindex.requests import PUBLISHED_FREQUENCY, PUBLISHED_STRATEGY, ReportType


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """What a report says of one constituent beyond its prices."""

    name: str
    sector: str | None = None
    shares_outstanding_date: date | None = None


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """One published index and what surrounds it.

    Sessions are naive midnights, increasing, without repeats.

    - `levels`: the index, its whole history, no NaN.
    - `benchmark`: closes of the benchmark; sessions may differ from those of `levels`.
    - `weights`, `units`: one row a rebalance session, one column a symbol; NaN or 0 where not held.
      The weights of session t are decided at its close and earn their first return after it.
    - `closes`: constituents' closes, NaN where there is no bar. They should begin before the last
      rebalance of the previous report period; an earlier start covers more of the turnover.
    - `metrics`: {window: {metric: number or None}} as stored with the index;
      `benchmark_metrics`: the same for the benchmark, where it has them.
    - `benchmark_name` and the names in `assets` may be any text; a report shows their printable
      characters on one line.
    - `currency`: the universe's, as in GBP or GBp.
    - `published_past`: the launch and what has changed since; None where neither is known.
    - `pro_forma`: what the next rebalance decides; shown where it is of the last session.
    - `sample_data`: whether prices are the sandbox's, which are adjusted for dividends too.
    - `generated_at`: the data's clock. The same inputs give the same bytes.

    Raises `ReportImpossible` below two levels, or where a level is missing or not positive.
    """

    report_type: ReportType
    levels: pd.Series
    benchmark: pd.Series | None
    benchmark_name: str
    weights: pd.DataFrame
    units: pd.DataFrame
    closes: pd.DataFrame
    assets: Mapping[str, AssetFacts]
    metrics: Mapping[str, Mapping[str, float | None]]
    generated_at: datetime
    currency: str
    published_past: PublishedPast | None = None
    benchmark_metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    quality_notes: tuple[str, ...] = ()
    strategy: str = PUBLISHED_STRATEGY.value
    frequency: str = PUBLISHED_FREQUENCY.value
    index_name: str = "Autoindex Composite"
    pro_forma: ProForma | None = None
    sample_data: bool = False
    imprint: Imprint = field(default_factory=Imprint)

    def __post_init__(self) -> None:
        if self.generated_at.tzinfo is None:
            raise ValueError("generated_at needs a time zone")
        if len(self.levels) < 2:
            raise ReportImpossible(
                f"a report needs at least two index levels; there are {len(self.levels)}"
            )
        for name, frame in (("levels", self.levels), ("weights", self.weights)):
            if not frame.index.is_monotonic_increasing or frame.index.has_duplicates:
                raise ValueError(f"{name}: sessions must increase")
        if self.levels.isna().any() or (self.levels <= 0).any():
            raise ReportImpossible("the index has levels that are missing or not positive")
