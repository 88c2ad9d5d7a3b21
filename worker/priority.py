"""Which runs get a slot first: those of the first queues, but none waits for ever."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import WorkerFlowRunResponse

from flows.attempts.attempt import AWAITING_TURN

MAX_WAIT: Final = timedelta(minutes=15)
"""A run that has waited for longer goes first, whatever its queue."""
PAGE: Final = 200
"""So many runs Prefect names at most: those of the highest priority."""


def by_priority(due: Sequence[WorkerFlowRunResponse], now: datetime) -> list[WorkerFlowRunResponse]:
    """Due runs in the order in which they get a slot, each once.

    As given, which is by priority and then by due time; but first those that have waited for too
    long, the longest wait first.
    """
    once = {entry.flow_run.id: entry for entry in due}.values()
    late = [entry for entry in once if now - _due_since(entry, now) > MAX_WAIT]
    late_ids = {entry.flow_run.id for entry in late}
    return [
        *sorted(late, key=lambda entry: _due_since(entry, now)),
        *(entry for entry in once if entry.flow_run.id not in late_ids),
    ]


async def oldest_of_each_queue(
    client: PrefectClient, pool: str, chosen: Collection[str]
) -> list[WorkerFlowRunResponse]:
    """The oldest due runs of each queue, or of the chosen queues."""
    queues = await client.read_work_queues(work_pool_name=pool)
    answers = [
        await client.get_scheduled_flow_runs_for_work_pool(
            work_pool_name=pool,
            scheduled_before=datetime.now(UTC),
            work_queue_names=[queue.name],
        )
        for queue in queues
        if not chosen or queue.name in chosen
    ]
    return [entry for answer in answers for entry in answer[:PAGE]]


def _due_since(entry: WorkerFlowRunResponse, now: datetime) -> datetime:
    run = entry.flow_run
    if run.state_name == AWAITING_TURN and run.expected_start_time is not None:
        return run.expected_start_time  # since when it waits, however often it has tried
    return run.next_scheduled_start_time or run.expected_start_time or now
