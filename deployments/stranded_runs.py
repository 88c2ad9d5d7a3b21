"""Runs that wait in no queue, because their work pool was deleted."""

from datetime import UTC, datetime
from typing import Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Failed

from flows.visibility.finished_runs import TAG

_REASON: Final = "the work pool was deleted while it waited: request it again"
_PAGE: Final = 200


def fail(client: SyncPrefectClient) -> None:
    """Fail those that are due: Prefect can't put them into another queue.

    `prefect deploy` replaces the scheduled ones.
    """
    for run in _due(client):
        if run.work_queue_id is None:
            client.set_flow_run_state(run.id, Failed(message=_REASON), force=True)


def _due(client: SyncPrefectClient) -> list[FlowRun]:
    chosen = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=chosen, offset=len(found), limit=_PAGE):
        found += page
    return found
