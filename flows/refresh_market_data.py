"""Refresh: resolve symbols, fetch, upsert, invalidate the cache, recompute the index."""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from prefect import State, flow, get_run_logger
from pydantic import SecretStr

from autoindex.errors import (
    AttemptOver,
    BudgetSpent,
    ConfigurationError,
    CreditsExhausted,
    EmptyWindow,
    IndexImpossible,
    ProviderUnavailable,
    SoftTimeLimit,
)
from autoindex.market_data import fetch_plan
from autoindex.market_data.client import TwelveData
from autoindex.market_data.fetch_plan import Batch, Due
from autoindex.market_data.paging import BatchReply
from autoindex.requests import ComputeIndexRequest, Mode, RefreshRequest, Symbol
from autoindex.settings import Settings
from autoindex.storage import versions
from autoindex.storage.postgres import locks
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.universe import memberships
from autoindex.storage.universe.assets import Asset
from flows.attempts import skip_superseded, time_limit
from flows.attempts.attempt import has_next_attempt, lock_wait_seconds, resumable
from flows.attempts.credit_budget import DAY_SHARED, DAY_SPENT, TIME_LIMIT, Budget
from flows.attempts.outcome import Progress, finish, invalidate_cache
from flows.attempts.refresh_progress import RefreshProgress, hand_over, resume
from flows.attempts.retry import max_retry_delay_seconds, retrying
from flows.attempts.runtime import Runtime, opened
from flows.attempts.upsert import upsert
from flows.compute_index import recompute
from flows.visibility import artifacts, failures, run_names
from flows.visibility.monitors import monitor

# Of an attempt's 240 s (see `prefect.yaml`); the rest is for the index.
FETCH_SECONDS: Final = 200
# A call that starts at the last moment still ends before the limit.
CALL_SECONDS: Final = 30


@flow(
    name="refresh-market-data",
    flow_run_name=run_names.refresh,
    on_failure=[failures.track],
)
@resumable
def refresh_market_data(
    mode: Mode = Mode.SMART, symbols: list[Symbol] | None = None, force: bool = False
) -> dict[str, Any] | State[Any]:
    """Update daily prices, then the index."""
    request = RefreshRequest(mode=mode, symbols=symbols, force=force)
    with opened() as run, locks.exclusive(run.engine, "refresh", patience=lock_wait_seconds()):
        began = time.monotonic()
        done = resume(run)
        # A run that has fetched symbols continues, even if it is superseded.
        if not done.settled and (end := skip_superseded.skip(run, "refresh")) is not None:
            return end
        universe, due = resolve_symbols(run, request, done)
        if due and (left := _fetch_due(run, request, universe, due, done)) is not None:
            done.seconds += time.monotonic() - began
            hand_over(run, done)
            raise AttemptOver(left)
        artifacts.omitted_symbols(done.refused, done.deferred)
        done.check()
        evicted = invalidate_cache(run, versions.PRICES)
        index = _recompute_index(run)
        result = done.result() | {"suspicious": index.get("suspicious", {}), "index": index}
        result |= {"cache_entries_evicted": evicted}
        monitor(run)
        seconds = done.seconds + time.monotonic() - began
        return finish(run, "refresh", result | {"duration_seconds": round(seconds, 3)})


@retrying("resolve symbols")
def resolve_symbols(
    run: Runtime, request: RefreshRequest, done: RefreshProgress
) -> tuple[list[Asset], list[Due]]:
    """The requested assets, and which of them are due and not yet settled, in order."""
    with run.engine.connect() as connection:
        universe = memberships.resolve(connection, run.now.date(), request.symbols)
        if not universe:
            raise ConfigurationError(
                "the universe is empty: import stocks with `autoindex universe import FILE`"
            )
        newest = stored_prices.newest_sessions(connection, universe)
        answered = fetches.load(connection, universe)
    wanted = fetch_plan.due_symbols(
        universe, newest, run.now, request.mode, force=request.force, answered=answered
    )
    # Who names a symbol wants it asked for.
    smart = request.symbols is None and not _is_whole(request)
    silent = fetch_plan.silent_symbols(newest, answered, run.now) if smart else frozenset()
    # What an earlier attempt has fetched is not asked for again, whatever the mode.
    due = [one for one in wanted if one.symbol not in silent | done.settled]
    done.silent = set(silent - done.settled)
    left_out = {one.symbol for one in due} | done.silent | done.settled
    done.fresh = sum(asset.symbol not in left_out for asset in universe)
    get_run_logger().info("%d of %d symbols are due", len(due), len(universe))
    return universe, due


def _is_whole(request: RefreshRequest) -> bool:
    return request.force or request.mode is Mode.FULL


def _fetch_due(
    run: Runtime,
    request: RefreshRequest,
    universe: list[Asset],
    due: list[Due],
    done: RefreshProgress,
) -> str | None:
    """Fetch and store batch by batch, so that memory does not grow with the universe.

    Returns how much is done if the rest is for another attempt; otherwise the rest is deferred.
    """
    settled = len(done.settled)
    # The whole history of all symbols may take days: newly due symbols must not wait for it.
    leave = len(universe) if _is_whole(request) and request.symbols is None else 0
    with _provider(run.settings) as provider:
        budget = Budget(run, FETCH_SECONDS, leave)
        reason = None if budget.is_known else read_plan_limits(provider, budget)
        queue = deque(fetch_plan.batches(due, budget.plan.per_minute))
        try:
            reason = reason or _fetch_all(run, provider, budget, universe, queue, done)
        except SoftTimeLimit as limit:
            reason = str(limit)
    if reason is None:
        return None
    # Without progress there would be no end of attempts.
    if len(done.settled) > settled and reason not in (DAY_SPENT, DAY_SHARED) and has_next_attempt():
        return f"{len(done.settled)} of {settled + len(due)} symbols fetched; {reason}"
    done.defer(queue, reason)
    get_run_logger().warning("%d symbols deferred: %s", len(done.deferred), reason)
    return None


@time_limit.enforced
def _fetch_all(
    run: Runtime,
    provider: TwelveData,
    budget: Budget,
    universe: list[Asset],
    queue: "deque[Batch]",
    done: RefreshProgress,
) -> str | None:
    """Fetch and store every batch; the reason to stop early, if any."""
    settled = len(done.settled)
    progress = Progress("refresh", settled + sum(len(batch.symbols) for batch in queue))
    progress.show(settled, "symbols fetched")
    earlier, reason = done.credits, None
    while queue and reason is None:
        try:
            reason = _next_batch(run, provider, budget, universe, queue, done)
        finally:
            done.credits = earlier + budget.spent
        progress.update(len(done.settled), "symbols fetched")
    progress.show(len(done.settled), "symbols fetched")
    return reason


def _next_batch(
    run: Runtime,
    provider: TwelveData,
    budget: Budget,
    universe: list[Asset],
    queue: "deque[Batch]",
    done: RefreshProgress,
) -> str | None:
    """Fetch and store the next batch; the reason to stop, if any."""
    outcome = fetch(provider, budget, queue[0], may_defer=bool(done.fetched))
    with time_limit.deferred():
        stored = upsert(run, universe, outcome.reply, done) if outcome.reply else None
        # It leaves the queue once it is stored, so that a limit before that defers it.
        queue.popleft()
        if outcome.later is not None:
            queue.appendleft(outcome.later)
        if outcome.reply is not None and stored is not None:
            done.add(outcome.reply, stored)
            queue.extend(fetch_plan.batches(stored.to_refetch, budget.plan.per_minute))
    return outcome.stop


@retrying("ask for the plan")
def read_plan_limits(provider: TwelveData, budget: Budget) -> str | None:
    """Ask the provider how many credits its plan has; the reason to stop, if it does not say."""
    try:
        budget.read_plan_limits(provider)
    except BudgetSpent as spent:
        return str(spent)
    except CreditsExhausted as error:
        budget.record_exhausted(error)
        if not error.daily:
            raise
        return DAY_SPENT
    return None


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """The reply to a batch, the part that is left for later, and the reason to stop, if any."""

    reply: BatchReply | None
    later: Batch | None
    stop: str | None = None


@retrying("fetch")
def fetch(provider: TwelveData, budget: Budget, batch: Batch, *, may_defer: bool) -> FetchOutcome:
    """Fetch as much of one batch as the credits pay for; every attempt reserves its own.

    If there is no time for another attempt, `may_defer` leaves the batch to the next run.
    """
    try:
        with budget.open(batch) as account:
            now, later = batch.split(account.granted)
            reply = None if now is None else provider.fetch(now, account)
    except BudgetSpent as spent:
        return FetchOutcome(None, batch, str(spent))
    except CreditsExhausted as error:
        budget.record_exhausted(error)
        return FetchOutcome(None, batch, DAY_SPENT if error.daily else None)
    except ProviderUnavailable as error:
        if may_defer and not budget.has(max_retry_delay_seconds()):
            return FetchOutcome(None, batch, f"{TIME_LIMIT}; {error}")
        raise
    if reply is not None:
        get_run_logger().info(
            "fetched %d bars for %d symbols, %d refused",
            sum(len(one.bars) for one in reply.fetched),
            len(reply.fetched),
            len(reply.refused),
        )
    return FetchOutcome(reply, later)


def _recompute_index(run: Runtime) -> dict[str, Any]:
    """Recompute the published index from the earliest session whose return has changed."""
    try:
        return recompute(run, ComputeIndexRequest())
    except (IndexImpossible, EmptyWindow) as error:
        # Prices may arrive symbol by symbol: too few or none are no failure of the refresh.
        get_run_logger().warning("the index was not computed: %s", error)
        return {"not_computed": str(error)}


def _provider(settings: Settings) -> TwelveData:
    if (
        settings.twelve_data_api_key is None
        and "twelve_data_base_url" not in settings.model_fields_set
    ):
        raise ConfigurationError(
            "AUTOINDEX_TWELVE_DATA_API_KEY is not set: set it, or use the sandbox of `autoindex up`"
        )
    key = settings.twelve_data_api_key or SecretStr("sandbox")
    return TwelveData(settings.twelve_data_base_url, key, timeout_seconds=CALL_SECONDS)
