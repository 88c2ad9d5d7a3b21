"""Compute index: load prices, compute, store, invalidate the cache."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from prefect import State, flow, get_run_logger
from sqlalchemy import Connection

from autoindex import sessions
from autoindex.errors import EmptyWindow, IndexImpossible, InputChanged
from autoindex.index import completeness, reasons
from autoindex.index import compute as index
from autoindex.index.completeness import Completeness
from autoindex.index.compute import Base, IndexSeries, lookback_sessions
from autoindex.index.membership import Membership
from autoindex.index.metrics import metrics as performance
from autoindex.index.shares import ShareCount
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
    corrections,
    holdings,
    index_metrics,
    levels,
    publications,
)
from autoindex.storage.index.allocations import Allocations
from autoindex.storage.index.corrections import Correction
from autoindex.storage.index.holdings import Holdings
from autoindex.storage.index.index_metrics import Values
from autoindex.storage.index.publications import Published
from autoindex.storage.postgres import engines, locks
from autoindex.storage.prices import settled as stored_settled
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets, memberships, share_counts
from autoindex.storage.universe.assets import Asset
from autoindex.storage.universe.memberships import Member
from autoindex.storage.universe.share_counts import StoredCount
from flows.attempts import skip_superseded
from flows.attempts.attempt import resumable
from flows.attempts.outcome import finish, invalidate_cache
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime, opened
from flows.visibility import artifacts, disclosure, failures, run_names

# Loaded beyond the lookback, because a gap in a stock's bars is filled over up to five sessions.
GAP_SESSIONS = 10
# Older sessions have either been completed or are past any deadline.
_OPEN_SESSIONS = 60
# A refresh stores a batch at a time, and a computation takes about as long as it.
TRIES = 5
_NAMED = 5


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
    if not computed.series.levels.empty:
        artifacts.index(computed.series.weights, computed.newest_metrics["all"])
    evicted = invalidate_cache(run, versions.INDEX)
    return _summary(request, loaded, computed, published) | {
        "pending_corrections": [_shown(one) for one in pending],
        "cache_entries_evicted": evicted,
        "duration_seconds": round(time.monotonic() - began, 3),
    }


def _publish(run: Runtime, request: ComputeIndexRequest) -> "tuple[Loaded, Computed, Published]":
    """Compute from the data as of one instant; again where they have changed meanwhile."""
    for _ in range(TRIES):
        loaded = load_prices(run, request)
        computed = compute(loaded, request)
        if (published := store(run, request, loaded, computed)) is not None:
            return loaded, computed, published
        get_run_logger().info("prices or members have changed meanwhile: computing again")
    raise InputChanged(f"prices or members have changed during each of {TRIES} computations")


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
        trial = compute(load_prices(run, asked), asked).series.levels
    except (IndexImpossible, EmptyWindow) as error:
        get_run_logger().warning("what is pending was not measured: %s", error)
        return pending
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
class Loaded:
    """The input of one computation, as of one instant.

    `base` is None where the index starts anew; `closes` end with the last session that may be
    published; `provisional` are stored sessions, `corrections` those that are due or pending, and
    `renewed` the sessions whose stored metrics follow from what is computed. `input_versions` are
    those of the prices and of the universe.
    """

    constituents: list[Asset]
    members: list[Member]
    shares: list[StoredCount]
    closes: pd.DataFrame
    benchmark: pd.Series | None
    history: pd.Series
    base: Base | None
    completeness: Completeness
    provisional: list[date]
    corrections: list[Correction]
    renewed: list[date]
    input_versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """New levels and allocations, all levels with the new ones, and their metrics by session."""

    series: IndexSeries
    levels: pd.Series
    metrics: dict[date, Values]

    @property
    def newest_metrics(self) -> Values:
        """The metrics of the newest session."""
        return self.metrics[self.levels.index[-1].date()]


@retrying("load prices")
def load_prices(run: Runtime, request: ComputeIndexRequest) -> Loaded:
    """Read the closes that the first new session needs, and the stored level to continue from."""
    which = request.strategy, request.frequency
    with engines.snapshot(run.engine) as connection:
        found = corrections.load(connection, *which)
        stored = stored_prices.stored_window(connection)
        if stored is None:
            raise EmptyWindow("start_date", None, None)
        universe = assets.list_assets(connection)
        provisional = levels.provisional(connection, *which)
        due = [*(one.session for one in found if not one.pending), *provisional]
        due_from = min(due, default=None)
        base = _base(connection, request, due_from, universe, stored)
        start, end = _window(connection, request, base, stored)
        held = set(base.units.index) if base else set()
        since = base.session if base else start
        members = memberships.during(connection, since, end, "constituent")
        weighted = {member.id for member in members}
        chosen = [a for a in universe if a.id in weighted or a.symbol in held]
        closes = stored_prices.load_closes(connection, chosen, start, end)
        get_run_logger().info(
            "loaded closes of %d symbols, %d sessions to %s", len(chosen), len(closes), end
        )
        reference = memberships.benchmark(connection, end)
        needed = _needed(members, reference, held)
        watched = [a for a in universe if a.symbol in needed]
        ready = _completeness(run, connection, request, watched, needed, base, end)
        return Loaded(
            constituents=chosen,
            closes=closes.iloc[: len(closes) - ready.held_back],
            members=members,
            shares=share_counts.load(connection),
            benchmark=_benchmark(connection, reference, stored[0], end),
            completeness=ready,
            provisional=[*provisional],
            history=_history(connection, request, base),
            base=Base(pd.Timestamp(base.session), base.level, base.units) if base else None,
            corrections=found,
            renewed=index_metrics.sessions(connection, *which, base.session if base else date.min),
            input_versions=_input_versions(connection),
        )


def _input_versions(connection: Connection) -> tuple[int, ...]:
    names = versions.PRICES, versions.UNIVERSE
    return tuple(versions.current(connection, name) for name in names)


def _needed(
    members: list[Member], benchmark: Asset | None, held: Collection[str]
) -> dict[str, date | None]:
    """The symbols that new levels need: from which day on decisions do, None for every session.

    What is held after a decision is not known yet, so every member is needed from then on.
    """
    needed: dict[str, date | None] = {one.symbol: one.first for one in reversed(members)}
    if benchmark is not None:
        needed[benchmark.symbol] = None
    return needed | dict.fromkeys(held)


def _completeness(
    run: Runtime,
    connection: Connection,
    request: ComputeIndexRequest,
    watched: list[Asset],
    needed: Mapping[str, date | None],
    base: Holdings | None,
    end: date,
) -> Completeness:
    """Which of the new sessions may be published; raises `IndexImpossible` if none may.

    Nothing is provisional before the launch: an index begins with all of its members.
    """
    which = request.strategy, request.frequency
    published = levels.window(connection, *which)
    days = sessions.between(sessions.back(end, _OPEN_SESSIONS - 1), end)
    if base is not None:
        days = days[days > pd.Timestamp(base.session)]
    settled = stored_settled.read(connection, watched, days)
    overdue = 0
    if published is not None:
        known = days <= pd.Timestamp(published[1])
        provisional = pd.DatetimeIndex([*levels.provisional(connection, *which)])
        settled[known & ~days.isin(provisional)] = True
        deadline = run.now - timedelta(hours=run.settings.provisional_after_hours)
        late = days <= pd.Timestamp(sessions.last_closed(deadline))
        overdue = int((late | known).sum())
    decisions = days.get_indexer(sessions.rebalances(days, request.frequency))
    decided = 0 if base is None else int([*decisions, len(days)][0])
    numbers = days.to_numpy().astype("datetime64[D]")
    needed_from = {
        symbol: 0
        if first is None
        else max(decided, int(numbers.searchsorted(np.datetime64(first))))
        for symbol, first in needed.items()
    }
    found = completeness.of(settled, needed_from, overdue)
    if published is None and found.held_back == len(days):
        raise IndexImpossible(
            f"the index waits for the prices of {_named(found.waiting)}: refresh them, or take "
            "them out with `autoindex universe deactivate`"
        )
    return found


def _base(
    connection: Connection,
    request: ComputeIndexRequest,
    due_from: date | None,
    universe: list[Asset],
    stored: tuple[date, date],
) -> Holdings | None:
    """The stored level to continue from.

    It is the last before the requested start, or before the first due session; or the last of all.
    None where nothing is published, or all that is published is computed again. Raises
    `IndexImpossible` where the closes of that level's session are gone: a published index never
    starts again.
    """
    which = request.strategy, request.frequency
    begin = date.max
    if (wanted := request.start_date or due_from) is not None:
        begin = max(wanted, _first_computable(connection, request, universe, stored[0]))
    found = holdings.before(connection, *which, universe, begin)
    if found is None:
        return None
    if found.session < stored[0]:
        raise IndexImpossible(
            f"the index can't go on from {found.session}: the first stored close is of "
            f"{stored[0]}; restore what is between them with `autoindex restore prices "
            f"--from {found.session} --to {stored[0]}`, and refresh again"
        )
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
    connection: Connection, chosen: Asset | None, start: date, end: date
) -> pd.Series | None:
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
    series = index.compute(
        loaded.closes,
        strategy=request.strategy,
        frequency=request.frequency,
        shares=_shares(loaded),
        base=loaded.base,
        members=[Membership(one.symbol, one.first, one.last) for one in loaded.members],
    )
    whole = pd.concat([loaded.history, series.levels])
    if whole.empty:
        raise IndexImpossible(reasons.no_level(request.strategy, loaded.closes, _active(loaded)))
    get_run_logger().info(
        "computed %d levels, %d rebalances", len(series.levels), len(series.weights)
    )
    days = [*loaded.renewed, whole.index[-1].date()]
    metrics: dict[date, Values] = {
        day: performance(whole[: pd.Timestamp(day)], loaded.benchmark) for day in {*days}
    }
    return Computed(series, whole, metrics)


def _active(loaded: Loaded) -> set[str]:
    return {member.symbol for member in loaded.members}


def _shares(loaded: Loaded) -> list[ShareCount]:
    symbols = {asset.id: asset.symbol for asset in loaded.constituents}
    return [
        ShareCount(symbols[one.asset_id], math.nan if one.shares is None else one.shares, one.first)
        for one in loaded.shares
        if one.asset_id in symbols
    ]


@retrying("store index")
def store(
    run: Runtime, request: ComputeIndexRequest, loaded: Loaded, computed: Computed
) -> Published | None:
    """Store everything in one transaction, so that readers see all or nothing of it.

    None, and nothing is stored, where the prices or the universe have changed since they were read.
    """
    series, which = computed.series, (request.strategy, request.frequency)
    with run.engine.begin() as connection:
        # Whoever changes prices or members holds it, and restates allocations with them.
        locks.until_commit(connection, locks.PRICES)
        if _input_versions(connection) != loaded.input_versions:
            return None
        applied = _applied(request, loaded.corrections)
        corrections.remove(connection, applied)
        if series.levels.empty:
            return Published(0, 0)
        rows = Allocations(series.weights, series.units)
        ids = {asset.symbol: asset.id for asset in loaded.constituents}
        allocations.store(connection, *which, rows, ids, series.levels.index[0].date())
        for day, values in computed.metrics.items():
            index_metrics.store(connection, *which, day, values)
        return publications.publish(
            connection,
            *which,
            series.levels,
            loaded.completeness.missing,
            cause=_cause(request, loaded, applied),
            task_id=run.task_id,
        )


def _applied(request: ComputeIndexRequest, found: list[Correction]) -> list[Correction]:
    """Those that are computed from their session on."""
    start = request.start_date
    if start is None:
        return [one for one in found if not one.pending]
    return [one for one in found if one.session >= start]


def _cause(request: ComputeIndexRequest, loaded: Loaded, applied: list[Correction]) -> str:
    """Why levels change, as in "closes changed: KO from 2021-01-12"."""
    if request.start_date is not None:
        return f"computed again from {request.start_date} on request"
    completed = [str(day) for day in loaded.provisional if day not in loaded.completeness.missing]
    if completed:
        return f"completed: {_named(completed)}"
    if not applied:
        return "new sessions"
    first = {one.symbol or "?": one for one in reversed(applied)}
    changes = [f"{symbol} from {one.session}" for symbol, one in sorted(first.items())]
    return f"{', '.join(sorted({one.reason for one in applied}))}: {_named(changes)}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _summary(
    request: ComputeIndexRequest, loaded: Loaded, computed: Computed, published: Published
) -> dict[str, Any]:
    whole = computed.levels
    begins = whole.index[0].date()
    of_shares = disclosure.of_shares(request.strategy, begins, loaded.constituents, loaded.shares)
    return {
        "strategy": request.strategy.value,
        "frequency": request.frequency.value,
        "first_session": whole.index[0].date().isoformat(),
        "last_session": whole.index[-1].date().isoformat(),
        "sessions_computed": len(computed.series.levels),
        "rebalances_computed": len(computed.series.weights),
        "sessions_published": published.added,
        "levels_changed": published.changed,
        "waiting": list(loaded.completeness.waiting),
        "provisional_sessions": {
            day.isoformat(): list(missing) for day, missing in loaded.completeness.missing.items()
        },
        "level": float(whole.iloc[-1]),
        "metrics": dict(computed.newest_metrics["all"]),
        "notes": [*computed.series.notes, *of_shares],
    }
