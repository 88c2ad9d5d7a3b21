"""Whose turn it is: the queues' priorities, but nobody waits for ever."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from prefect.client.schemas.responses import WorkerFlowRunResponse

from flows.attempts.attempt import AWAITING_TURN

MAX_WAIT: Final = timedelta(minutes=15)
"""What has waited for longer goes first, whatever its queue."""


def by_priority(
    waiting: Sequence[WorkerFlowRunResponse], now: datetime
) -> list[WorkerFlowRunResponse]:
    """Runs in the order in which they get a slot, each once.

    As given, which is by priority and then by when they were due; but first those that have waited
    for too long, the longest-waiting first.
    """
    once = {entry.flow_run.id: entry for entry in waiting}.values()
    late = [entry for entry in once if now - _due(entry, now) > MAX_WAIT]
    late_ids = {entry.flow_run.id for entry in late}
    return [
        *sorted(late, key=lambda entry: _due(entry, now)),
        *(entry for entry in once if entry.flow_run.id not in late_ids),
    ]


def _due(entry: WorkerFlowRunResponse, now: datetime) -> datetime:
    run = entry.flow_run
    if run.state_name == AWAITING_TURN and run.expected_start_time is not None:
        return run.expected_start_time  # since when it waits, however often it has looked
    return run.next_scheduled_start_time or run.expected_start_time or now
