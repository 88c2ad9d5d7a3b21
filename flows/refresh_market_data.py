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
from autoindex.storage.universe import assets
from autoindex.storage.universe.assets import Asset
from flows.attempts import skip_superseded, time_limit
from flows.attempts.attempt import goes_on, patience, resumable
from flows.attempts.credit_budget import DAY_SHARED, DAY_SPENT, TIME_LIMIT, Budget
from flows.attempts.outcome import Progress, finish, invalidate_cache
from flows.attempts.refresh_tally import Tally, hand_over, resume
from flows.attempts.retry import longest_delay, retrying
from flows.attempts.runtime import Runtime, opened
from flows.attempts.upsert import upsert
from flows.compute_index import recompute
from flows.visibility import artifacts, failures, run_names
from flows.visibility.monitors import watch

# What fetching may take of an attempt's time, of which `prefect.yaml` allows 240 s; the rest is for
# the index.
FETCH_SECONDS: Final = 200
# What one call may take: begun at the last moment, it still ends before the limit.
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
    """Bring daily prices up to date, then the index."""
    request = RefreshRequest(mode=mode, symbols=symbols, force=force)
    with opened() as run, locks.exclusive(run.engine, "refresh", patience=patience()):
        began = time.monotonic()
        tally = resume(run)
        # A run that has begun its work finishes it.
        if not tally.settled and (end := skip_superseded.skipped(run, "refresh")) is not None:
            return end
        universe, due = resolve_symbols(run, request, tally)
        if due and (left := _bring_in(run, request, universe, due, tally)) is not None:
            tally.seconds += time.monotonic() - began
            hand_over(run, tally)
            raise AttemptOver(left)
        artifacts.left_out(tally.refused, tally.deferred)
        tally.check()
        evicted = invalidate_cache(run, versions.PRICES)
        result = tally.result() | {"index": _recompute_index(run)}
        result |= {"cache_entries_evicted": evicted}
        watch(run)
        seconds = tally.seconds + time.monotonic() - began
        return finish(run, "refresh", result | {"duration_seconds": round(seconds, 3)})


@retrying("resolve symbols")
def resolve_symbols(
    run: Runtime, request: RefreshRequest, tally: Tally
) -> tuple[list[Asset], list[Due]]:
    """The active assets asked for, and what of them is due and not settled, in order."""
    with run.engine.connect() as connection:
        universe = assets.resolve(connection, request.symbols)
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
    due = [one for one in wanted if one.symbol not in silent | tally.settled]
    tally.silent = set(silent - tally.settled)
    left_out = {one.symbol for one in due} | tally.silent | tally.settled
    tally.fresh = sum(asset.symbol not in left_out for asset in universe)
    get_run_logger().info("%d of %d symbols are due", len(due), len(universe))
    return universe, due


def _is_whole(request: RefreshRequest) -> bool:
    return request.force or request.mode is Mode.FULL


def _bring_in(
    run: Runtime, request: RefreshRequest, universe: list[Asset], due: list[Due], tally: Tally
) -> str | None:
    """Fetch and store batch by batch, so that memory does not grow with the universe.

    Returns how far it is, where the rest is for another attempt; else what is left is deferred.
    """
    settled = len(tally.settled)
    # The whole history of everything may take days: what is newly due must not wait for it.
    leave = len(universe) if _is_whole(request) and request.symbols is None else 0
    with _provider(run.settings) as provider:
        budget = Budget(run, FETCH_SECONDS, leave)
        reason = None if budget.is_known else ask_plan(provider, budget)
        queue = deque(fetch_plan.batches(due, budget.plan.per_minute))
        try:
            reason = reason or _fetch_all(run, provider, budget, universe, queue, tally)
        except SoftTimeLimit as limit:
            reason = str(limit)
    if reason is None:
        return None
    # Without progress it would go on for ever.
    if len(tally.settled) > settled and reason not in (DAY_SPENT, DAY_SHARED) and goes_on():
        return f"{len(tally.settled)} of {settled + len(due)} symbols fetched; {reason}"
    tally.defer(queue, reason)
    get_run_logger().warning("%d symbols deferred: %s", len(tally.deferred), reason)
    return None


@time_limit.felt
def _fetch_all(
    run: Runtime,
    provider: TwelveData,
    budget: Budget,
    universe: list[Asset],
    queue: "deque[Batch]",
    tally: Tally,
) -> str | None:
    """Fetch and store every batch; a reason to stop before, where there is one."""
    settled = len(tally.settled)
    progress = Progress("refresh", settled + sum(len(batch.symbols) for batch in queue))
    progress.show(settled, "symbols fetched")
    earlier, reason = tally.credits, None
    while queue and reason is None:
        try:
            reason = _next_batch(run, provider, budget, universe, queue, tally)
        finally:
            tally.credits = earlier + budget.spent
        progress.update(len(tally.settled), "symbols fetched")
    progress.show(len(tally.settled), "symbols fetched")
    return reason


def _next_batch(
    run: Runtime,
    provider: TwelveData,
    budget: Budget,
    universe: list[Asset],
    queue: "deque[Batch]",
    tally: Tally,
) -> str | None:
    """Fetch and store the next batch; a reason to stop, where there is one."""
    brought = fetch(provider, budget, queue[0], may_defer=bool(tally.fetched))
    with time_limit.finishing():
        stored = upsert(run, universe, brought.reply, tally) if brought.reply else None
        # It leaves the queue once it is stored, so that a limit met on the way defers it.
        queue.popleft()
        if brought.later is not None:
            queue.appendleft(brought.later)
        if brought.reply is not None and stored is not None:
            tally.add(brought.reply, stored)
            queue.extend(fetch_plan.batches(stored.unjoined, budget.plan.per_minute))
    return brought.stop


@retrying("ask for the plan")
def ask_plan(provider: TwelveData, budget: Budget) -> str | None:
    """Learn how many credits the provider gives; a reason to stop, where it does not say."""
    try:
        budget.ask_plan(provider)
    except BudgetSpent as spent:
        return str(spent)
    except CreditsExhausted as error:
        budget.exhausted(error)
        if not error.daily:
            raise
        return DAY_SPENT
    return None


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of a batch, what of it is left for later, and why there is no going on."""

    reply: BatchReply | None
    later: Batch | None
    stop: str | None = None


@retrying("fetch")
def fetch(provider: TwelveData, budget: Budget, batch: Batch, *, may_defer: bool) -> Brought:
    """What the credits pay for of one batch; every attempt sets aside its own.

    Where the time for another attempt is lacking, `may_defer` leaves the batch to the next run.
    """
    try:
        with budget.open(batch) as account:
            now, later = batch.split(account.granted)
            reply = None if now is None else provider.fetch(now, account)
    except BudgetSpent as spent:
        return Brought(None, batch, str(spent))
    except CreditsExhausted as error:
        budget.exhausted(error)
        return Brought(None, batch, DAY_SPENT if error.daily else None)
    except ProviderUnavailable as error:
        if may_defer and not budget.has(longest_delay()):
            return Brought(None, batch, f"{TIME_LIMIT}; {error}")
        raise
    if reply is not None:
        get_run_logger().info(
            "fetched %d bars for %d symbols, %d refused",
            sum(len(one.bars) for one in reply.fetched),
            len(reply.fetched),
            len(reply.refused),
        )
    return Brought(reply, later)


def _recompute_index(run: Runtime) -> dict[str, Any]:
    """Renew the published index from the earliest session whose return has changed."""
    try:
        return recompute(run, ComputeIndexRequest())
    except IndexImpossible as error:
        # Prices may come in symbol by symbol: too few of them is no failure of the refresh.
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
