"""Monitors that Prefect does not have: stale prices, spent credits, and runs that wait too long.

Every refresh checks them: it runs at high priority and at least once an hour.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from autoindex import sessions
from autoindex.market_data.fetch_plan import PUBLISHED_WITHIN
from autoindex.storage import credits as ledger
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import memberships
from autoindex.storage.universe.published_past import session_after
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime
from flows.visibility import events
from flows.visibility.finished_runs import TAG

STALE_AFTER: Final = PUBLISHED_WITHIN
NEARLY_SPENT: Final = 0.9
WAITED_TOO_LONG: Final = timedelta(minutes=30)
_NAMED: Final = 5


@retrying("monitor")
def monitor(run: Runtime) -> None:
    """Emit an event about the data, the credits and each queue."""
    _data(run)
    _credits(run)
    with get_client(sync_client=True) as client:
        _queues(client, run)


def _data(run: Runtime) -> None:
    due = sessions.last_closed(run.now - STALE_AFTER)
    with run.engine.connect() as connection:
        universe = memberships.on(connection, session_after(due))
        newest = stored_prices.newest_sessions(connection, universe)
    behind = [a.symbol for a in universe if (have := newest.get(a.symbol)) is None or have < due]
    if not behind:
        reason = f"all {len(universe)} active symbols have the session of {due}"
        events.emit(events.DATA_CURRENT, events.DATA, reason)
        return
    named = ", ".join(sorted(behind)[:_NAMED]) + (", …" if len(behind) > _NAMED else "")
    reason = f"{len(behind)} of {len(universe)} active symbols lack the session of {due}: {named}"
    events.emit(events.DATA_STALE, events.DATA, reason)


def _credits(run: Runtime) -> None:
    with run.engine.connect() as connection:
        usage = ledger.day_usage(connection, datetime.now(UTC))
    if usage is None:
        return
    if usage.limit is None:
        spent, reason = True, "the provider says that the day's credits are spent"
    else:
        spent = usage.used >= NEARLY_SPENT * usage.limit
        reason = f"{usage.used} of the day's {usage.limit} credits are spent"
    events.emit(
        events.CREDITS_NEARLY_SPENT if spent else events.CREDITS_LEFT, events.CREDITS, reason
    )


def _queues(client: SyncPrefectClient, run: Runtime) -> None:
    now = datetime.now(UTC)
    pool = client.read_flow_run(run.task_id).work_pool_name
    if pool is None:  # run by hand, without a deployment
        return
    oldest = _oldest(_waiting_runs(client, pool, now - WAITED_TOO_LONG))
    for queue in client.read_work_queues(work_pool_name=pool):
        resource = events.queue_resource(queue.name)
        if queue.name not in oldest:
            events.emit(events.QUEUE_MOVING, resource, "no run has waited for too long")
            continue
        since = oldest[queue.name]
        minutes = (now - since).total_seconds() / 60
        reason = (
            f"a run has waited in {queue.name} for {minutes:.0f} minutes, since {since:%H:%M} UTC"
        )
        events.emit(events.QUEUE_TOO_OLD, resource, reason)


def _waiting_runs(client: SyncPrefectClient, pool: str, before: datetime) -> list[FlowRun]:
    return client.read_flow_runs(
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[TAG]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=before),
        ),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=200,
    )


def _oldest(waiting: Iterable[FlowRun]) -> dict[str, datetime]:
    oldest: dict[str, datetime] = {}
    for one in waiting:
        if one.work_queue_name and one.next_scheduled_start_time:
            oldest.setdefault(one.work_queue_name, one.next_scheduled_start_time)
    return oldest
