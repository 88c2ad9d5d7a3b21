"""Scheduled runs that start late: the next run of the schedule replaces them once it is due."""

from datetime import UTC, datetime
from typing import Any, Final

from prefect import State, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.states import Completed

from flows.attempts.outcome import finish
from flows.attempts.runtime import Runtime

# A run that has failed or was cancelled replaces none.
_REPLACES: Final = [
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.COMPLETED,
]


def skip(run: Runtime, kind: str) -> State[Any] | None:
    """The final state of a run whose successor is due already; None for a run that has to work.

    A run that a user has started has no successor. The flow returns this as its state.
    """
    successor = _successor()
    if successor is None:
        return None
    due = f"{successor.expected_start_time:%Y-%m-%d %H:%M} UTC"
    get_run_logger().info("skipped: the next run of the schedule was due at %s", due)
    result = finish(run, kind, {"skipped": True, "successor": str(successor.id), "due": due})
    return Completed(name="Skipped", message=f"the next run was due at {due}", data=result)


def _successor() -> FlowRun | None:
    context = FlowRunContext.get()
    own = context.flow_run if context else None
    if own is None or own.expected_start_time is None or not own.auto_scheduled:
        return None
    with get_client(sync_client=True) as client:
        later = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[own.deployment_id]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_REPLACES)),
                expected_start_time=FlowRunFilterExpectedStartTime(
                    after_=own.expected_start_time, before_=datetime.now(UTC)
                ),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        )
    same = [one for one in later if one.id != own.id and _schedule(one) == _schedule(own)]
    return same[0] if same else None


def _schedule(flow_run: FlowRun) -> object:
    by = flow_run.created_by
    return by.id if by is not None and flow_run.auto_scheduled else None
