"""Compute index: load prices, compute, store, invalidate the cache."""

import time
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
from prefect import State, flow, get_run_logger
from sqlalchemy import Connection

from autoindex import sessions
from autoindex.errors import EmptyWindow, IndexImpossible
from autoindex.index import compute as index
from autoindex.index import reasons
from autoindex.index.compute import Base, IndexSeries, lookback_sessions
from autoindex.index.metrics import metrics as performance
from autoindex.requests import (
    PUBLISHED_FREQUENCY,
    PUBLISHED_STRATEGY,
    ComputeIndexRequest,
    Frequency,
    PastDate,
    Strategy,
)
from autoindex.storage import versions
from autoindex.storage.index import allocations, holdings, index_metrics, levels, recompute_marks
from autoindex.storage.index.allocations import Allocations
from autoindex.storage.index.holdings import Holdings
from autoindex.storage.index.index_metrics import Values
from autoindex.storage.index.recompute_marks import RecomputeMark
from autoindex.storage.postgres import locks
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.assets import Asset
from flows.attempts import skip_superseded
from flows.attempts.attempt import resumable
from flows.attempts.outcome import finish, invalidate_cache
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime, opened
from flows.visibility import artifacts, disclosure, failures, run_names

# Loaded beyond the lookback, because a gap in a stock's bars is filled over up to five sessions.
GAP_SESSIONS = 10


@flow(
    name="compute-index",
    flow_run_name=run_names.compute,
    on_failure=[failures.track],
)
@resumable
def compute_index(
    start_date: PastDate | None = None,
    end_date: PastDate | None = None,
    strategy: Strategy = PUBLISHED_STRATEGY,
    frequency: Frequency = PUBLISHED_FREQUENCY,
) -> dict[str, Any] | State[Any]:
    """Compute levels, allocations and metrics of one index, and store them."""
    request = ComputeIndexRequest(
        start_date=start_date, end_date=end_date, strategy=strategy, frequency=frequency
    )
    with opened() as run:
        if (end := skip_superseded.skip(run, "compute")) is not None:
            return end
        return finish(run, "compute", recompute(run, request))


def recompute(run: Runtime, request: ComputeIndexRequest) -> dict[str, Any]:
    """Load, compute and store, one computation at a time; also called by a refresh."""
    began = time.monotonic()
    with locks.exclusive(run.engine, "index"):
        loaded = load_prices(run, request)
        computed = compute(loaded, request)
        store(run, request, loaded, computed)
    if not computed.series.levels.empty:
        artifacts.index(computed.series.weights, computed.metrics["all"])
    evicted = invalidate_cache(run, versions.INDEX)
    return _summary(request, loaded, computed) | {
        "cache_entries_evicted": evicted,
        "duration_seconds": round(time.monotonic() - began, 3),
    }


@dataclass(frozen=True, slots=True)
class Loaded:
    """The input of one computation; `base` is None where the index starts anew."""

    constituents: list[Asset]
    closes: pd.DataFrame
    benchmark: pd.Series | None
    history: pd.Series
    base: Base | None
    mark: RecomputeMark


@dataclass(frozen=True, slots=True)
class Computed:
    """New levels and allocations, all levels with the new ones, and their metrics."""

    series: IndexSeries
    levels: pd.Series
    metrics: Values


@retrying("load prices")
def load_prices(run: Runtime, request: ComputeIndexRequest) -> Loaded:
    """Read the closes that the first new session needs, and the stored level to continue from."""
    with run.engine.begin() as connection:
        mark = recompute_marks.read(connection, request.strategy, request.frequency)
    with run.engine.connect() as connection:
        stored = stored_prices.stored_window(connection)
        if stored is None:
            raise EmptyWindow("start_date", None, None)
        universe = assets.list_assets(connection)
        base = _base(connection, request, mark, universe, stored)
        start, end = _window(connection, request, base, stored)
        held = set(base.units.index) if base else set()
        chosen = [a for a in universe if a.role == "constituent" and (a.active or a.symbol in held)]
        closes = stored_prices.load_closes(connection, chosen, start, end)
        get_run_logger().info(
            "loaded closes of %d symbols, %d sessions to %s", len(chosen), len(closes), end
        )
        return Loaded(
            constituents=chosen,
            closes=closes,
            benchmark=_benchmark(connection, universe, stored[0], end),
            history=_history(connection, request, base),
            base=Base(pd.Timestamp(base.session), base.level, base.units) if base else None,
            mark=mark,
        )


def _base(
    connection: Connection,
    request: ComputeIndexRequest,
    mark: RecomputeMark,
    universe: list[Asset],
    stored: tuple[date, date],
) -> Holdings | None:
    """The stored level to continue from.

    It is the last before the requested start, or before the first due session; or the last of all.
    """
    begin = date.max
    if (wanted := request.start_date or mark.due_from) is not None:
        begin = max(wanted, _first_computable(connection, request, universe, stored[0]))
    found = holdings.before(connection, request.strategy, request.frequency, universe, begin)
    if found is None or found.session < stored[0]:
        return None
    return found


def _first_computable(
    connection: Connection, request: ComputeIndexRequest, universe: list[Asset], oldest: date
) -> date:
    """The first session that can be recomputed; earlier levels stay as published.

    It has a full lookback of closes, from which no cleanup has removed any, of any stock. Where
    levels are older than those closes, the level to continue from must be among them, too.
    """
    kept = max([oldest, *(one.prices_kept_from for one in universe if one.prices_kept_from)])
    published = levels.window(connection, request.strategy, request.frequency)
    extends_older = published is not None and published[0] < kept
    return sessions.ahead(kept, max(lookback_sessions(request.strategy) - 1, int(extends_older)))


def _window(
    connection: Connection,
    request: ComputeIndexRequest,
    base: Holdings | None,
    stored: tuple[date, date],
) -> tuple[date, date]:
    """First and last session to load; raises `EmptyWindow` where none of them is stored."""
    if request.end_date is not None and request.end_date < stored[0]:
        raise EmptyWindow("end_date", *stored)
    if request.start_date is not None and request.start_date > stored[1]:
        raise EmptyWindow("start_date", *stored)
    published = levels.window(connection, request.strategy, request.frequency)
    # Levels after the requested end depend on the computed ones: they are recomputed, too.
    wanted = max(request.end_date or date.max, published[1] if published else date.min)
    end = min(wanted, stored[1])
    first = base.session if base else max(request.start_date or date.min, stored[0])
    if end < first:
        raise EmptyWindow("end_date" if request.end_date else "start_date", *stored)
    start = sessions.back(first, lookback_sessions(request.strategy) + GAP_SESSIONS)
    if base:
        # A stock that was delisted after it was bought is worth its last close.
        start = min(start, sessions.back(base.decided, GAP_SESSIONS))
    return max(stored[0], start), end


def _benchmark(
    connection: Connection, universe: list[Asset], start: date, end: date
) -> pd.Series | None:
    chosen = assets.benchmark(universe)
    if chosen is None:
        return None
    closes = stored_prices.load_closes(connection, [chosen], start, end).iloc[:, 0]
    return None if closes.isna().all() else closes.rename(chosen.name)


def _history(
    connection: Connection, request: ComputeIndexRequest, base: Holdings | None
) -> pd.Series:
    end = base.session if base else date.min
    return levels.load(connection, request.strategy, request.frequency, end=end)


@retrying("compute")
def compute(loaded: Loaded, request: ComputeIndexRequest) -> Computed:
    """Compute levels, allocations and metrics, without storing them."""
    active = [asset.symbol for asset in loaded.constituents if asset.active]
    series = index.compute(
        loaded.closes,
        strategy=request.strategy,
        frequency=request.frequency,
        shares=_shares(loaded.constituents),
        base=loaded.base,
        eligible=active,
    )
    whole = pd.concat([loaded.history, series.levels])
    if whole.empty:
        raise IndexImpossible(reasons.no_level(request.strategy, loaded.closes, active))
    get_run_logger().info(
        "computed %d levels, %d rebalances", len(series.levels), len(series.weights)
    )
    return Computed(series, whole, performance(whole, loaded.benchmark))


def _shares(constituents: list[Asset]) -> pd.Series:
    shares = {asset.symbol: asset.shares_outstanding for asset in constituents}
    return pd.Series(shares, dtype="float64")


@retrying("store index")
def store(run: Runtime, request: ComputeIndexRequest, loaded: Loaded, computed: Computed) -> None:
    """Store everything in one transaction, so that readers see all or nothing of it."""
    series, which = computed.series, (request.strategy, request.frequency)
    if series.levels.empty:
        return
    first = series.levels.index[0].date()
    with run.engine.begin() as connection:
        # A restated history changes allocations, too: without this lock both would deadlock.
        locks.until_commit(connection, locks.PRICES)
        levels.store(connection, *which, series.levels)
        rows = Allocations(series.weights, series.units)
        ids = {asset.symbol: asset.id for asset in loaded.constituents}
        allocations.store(connection, *which, rows, ids, first)
        newest = computed.levels.index[-1].date()
        index_metrics.store(connection, *which, newest, computed.metrics)
        if loaded.mark.is_covered_from(request.start_date):
            recompute_marks.clear(connection, *which, loaded.mark)


def _summary(request: ComputeIndexRequest, loaded: Loaded, computed: Computed) -> dict[str, Any]:
    whole = computed.levels
    of_shares = disclosure.of_shares(request.strategy, loaded.constituents)
    return {
        "strategy": request.strategy.value,
        "frequency": request.frequency.value,
        "first_session": whole.index[0].date().isoformat(),
        "last_session": whole.index[-1].date().isoformat(),
        "sessions_computed": len(computed.series.levels),
        "rebalances_computed": len(computed.series.weights),
        "level": float(whole.iloc[-1]),
        "metrics": dict(computed.metrics["all"]),
        "notes": [*computed.series.notes, *of_shares],
    }
