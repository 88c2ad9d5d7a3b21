"""Compute index: load prices, compute, store, invalidate the cache."""

import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
from prefect import State, flow, get_run_logger

from autoindex.errors import DataBusy, EmptyWindow, IndexImpossible
from autoindex.index import reasons
from autoindex.index.metrics import metrics as performance
from autoindex.index.pro_forma import ProForma, pro_forma
from autoindex.requests import (
    PUBLISHED_FREQUENCY,
    PUBLISHED_STRATEGY,
    ComputeIndexRequest,
    Frequency,
    PastDate,
    Strategy,
)
from autoindex.storage import versions
from autoindex.storage.index import (
    allocations,
    close_blocks,
    computation_input,
    corrections,
    index_metrics,
    levels,
    pro_formas,
    publications,
)
from autoindex.storage.index.computation_input import ComputationInput
from autoindex.storage.index.corrections import Correction
from autoindex.storage.index.index_metrics import Values
from autoindex.storage.index.publications import Published
from autoindex.storage.postgres import engines, locks
from flows import index_series
from flows.attempts import skip_superseded
from flows.attempts.attempt import resumable
from flows.attempts.outcome import finish, invalidate_cache
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime, opened
from flows.index_series import Series
from flows.visibility import artifacts, disclosure, failures, publication_events, run_names

# A refresh stores a batch at a time, and a computation takes about as long as it.
TRIES = 5


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
        loaded, computed, published = _publish(run, request)
        pending = _measure(run, request)
    if (request.strategy, request.frequency) == (PUBLISHED_STRATEGY, PUBLISHED_FREQUENCY):
        provisional = [str(day) for day in loaded.completeness.missing]
        publication_events.emit(published, loaded.cause(request), provisional, pending)
        publication_events.suspicious(loaded.suspicious)
    if not computed.series.levels.empty:
        artifacts.index(computed.series.decided, computed.newest_metrics["all"])
    evicted = invalidate_cache(run, versions.INDEX)
    return _summary(request, loaded, computed, published) | {
        "pending_corrections": [_shown(one) for one in pending],
        "cache_entries_evicted": evicted,
        "duration_seconds": round(time.monotonic() - began, 3),
    }


def _publish(
    run: Runtime, request: ComputeIndexRequest
) -> tuple[ComputationInput, "Computed", Published]:
    """Compute from the data as of one instant; again where they have changed meanwhile."""
    for _ in range(TRIES):
        loaded = load_prices(run, request)
        computed = compute(loaded, request)
        if computed and (published := store(run, request, loaded, computed)) is not None:
            return loaded, computed, published
        get_run_logger().info("prices or members have changed meanwhile: computing again")
    raise DataBusy(f"prices or members have changed during each of {TRIES} computations")


def _measure(run: Runtime, request: ComputeIndexRequest) -> list[Correction]:
    """What is pending; what it would change is computed once, and stored with it."""
    which = request.strategy, request.frequency
    with run.engine.connect() as connection:
        pending = [one for one in corrections.load(connection, *which) if one.pending]
    fresh = [one for one in pending if one.effect is None]
    if not fresh:
        return pending
    asked = request.model_copy(update={"start_date": fresh[0].session, "end_date": None})
    try:
        # Without metrics, of which a long time has many.
        found = _levels(load_prices(run, asked), asked)
    except (IndexImpossible, EmptyWindow) as error:
        get_run_logger().warning("what is pending was not measured: %s", error)
        return pending
    if found is None:
        return pending
    trial = found[0].levels
    with run.engine.begin() as connection:
        stored = levels.load(connection, *which).reindex(trial.index)
        effect = float((trial / stored - 1).abs().max()) if len(trial) else 0.0
        corrections.measured(connection, fresh, effect)
        return [one for one in corrections.load(connection, *which) if one.pending]


def _shown(one: Correction) -> dict[str, Any]:
    return {
        "session": one.session.isoformat(),
        "symbol": one.symbol,
        "reason": one.reason,
        "effect": one.effect,
    }


@dataclass(frozen=True, slots=True)
class Computed:
    """New levels and allocations, all levels with the new ones, and their metrics by session.

    `pro_forma` is that of the newest session, None where it cannot be computed.
    """

    series: Series
    levels: pd.Series
    metrics: dict[date, Values]
    pro_forma: ProForma | None

    @property
    def newest_metrics(self) -> Values:
        """The metrics of the newest session."""
        return self.metrics[self.levels.index[-1].date()]


@retrying("load prices")
def load_prices(run: Runtime, request: ComputeIndexRequest) -> ComputationInput:
    """Read what the computation needs, as of one instant."""
    deadline = run.now - timedelta(hours=run.settings.provisional_after_hours)
    with engines.snapshot(run.engine) as connection:
        loaded = computation_input.read(connection, request, deadline)
    newest, blocks = loaded.closes.newest, len(loaded.closes.earlier)
    get_run_logger().info(
        "loaded closes of %d symbols, %d sessions to %s%s",
        len(loaded.constituents),
        len(newest),
        newest.index[-1].date(),
        f"; {blocks} blocks before them are read when they are needed" if blocks else "",
    )
    return loaded


@retrying("compute")
def compute(loaded: ComputationInput, request: ComputeIndexRequest) -> Computed | None:
    """Compute levels, allocations, metrics and the pro-forma, without storing them.

    None where the prices or the universe have changed before all closes were read.
    """
    found = _levels(loaded, request)
    if found is None:
        return None
    series, whole = found
    days = [*loaded.renewed, whole.index[-1].date()]
    metrics: dict[date, Values] = {
        day: performance(whole[: pd.Timestamp(day)], loaded.benchmark) for day in {*days}
    }
    return Computed(series, whole, metrics, _pro_forma(loaded, request, series.current))


def _levels(
    loaded: ComputationInput, request: ComputeIndexRequest
) -> tuple[Series, pd.Series] | None:
    """The new levels and allocations, and all levels with the new ones."""
    series = index_series.read(loaded, request)
    if series is None:
        return None
    whole = pd.concat([loaded.history, series.levels])
    newest = loaded.closes.newest
    if whole.empty:
        members = {one.symbol for one in loaded.members if one.first <= newest.index[-1].date()}
        raise IndexImpossible(reasons.no_level(request.strategy, newest, members))
    if loaded.begins is not None and (begins := whole.index[0].date()) > loaded.begins:
        raise IndexImpossible(reasons.begins_later(loaded.begins, begins))
    get_run_logger().info(
        "computed %d levels, %d rebalances", len(series.levels), series.rebalances
    )
    return series, whole


def _pro_forma(
    loaded: ComputationInput, request: ComputeIndexRequest, current: pd.Series
) -> ProForma | None:
    """What the next rebalance decides with the newest closes; no level depends on it."""
    try:
        return pro_forma(
            loaded.closes.newest,
            current,
            strategy=request.strategy,
            frequency=request.frequency,
            shares=loaded.shares,
            members=loaded.memberships,
        )
    except IndexImpossible as error:
        get_run_logger().warning("there is no pro-forma: %s", error)
        return None


@retrying("store index")
def store(
    run: Runtime, request: ComputeIndexRequest, loaded: ComputationInput, computed: Computed
) -> Published | None:
    """Store everything in one transaction, so that readers see all or nothing of it.

    None, and nothing is stored, where the prices or the universe have changed since they were read.
    """
    series, which = computed.series, (request.strategy, request.frequency)
    with run.engine.begin() as connection:
        # Whoever changes prices or members holds it, and restates allocations with them.
        locks.until_commit(connection, locks.PRICES)
        if close_blocks.data_versions(connection) != loaded.closes.data_versions:
            return None
        corrections.remove(connection, loaded.applied(request.start_date))
        corrections.postpone(connection, loaded.out_of_reach(request.start_date))
        pro_formas.store(connection, *which, computed.pro_forma, loaded.ids)
        if series.levels.empty:
            return Published()
        begin = series.levels.index[0].date()
        allocations.store(connection, *which, series.held, begin)
        for day, values in computed.metrics.items():
            index_metrics.store(connection, *which, day, values)
        return publications.publish(
            connection,
            *which,
            series.levels,
            loaded.completeness.missing,
            cause=loaded.cause(request),
            task_id=run.task_id,
        )


def _summary(
    request: ComputeIndexRequest, loaded: ComputationInput, computed: Computed, published: Published
) -> dict[str, Any]:
    whole = computed.levels
    begins = whole.index[0].date()
    of_shares = disclosure.of_shares(request.strategy, begins, loaded.constituents, loaded.counts)
    return {
        "strategy": request.strategy.value,
        "frequency": request.frequency.value,
        "first_session": whole.index[0].date().isoformat(),
        "last_session": whole.index[-1].date().isoformat(),
        "sessions_computed": len(computed.series.levels),
        "rebalances_computed": computed.series.rebalances,
        "sessions_published": published.added,
        "levels_changed": published.changed,
        "waiting": list(loaded.completeness.waiting),
        "provisional_sessions": {
            day.isoformat(): list(missing) for day, missing in loaded.completeness.missing.items()
        },
        "suspicious": {symbol: day.isoformat() for symbol, day in loaded.suspicious.items()},
        "level": float(whole.iloc[-1]),
        "metrics": dict(computed.newest_metrics["all"]),
        "notes": [*computed.series.notes, *of_shares],
    }
