"""What happens when a task has failed for good: hooks of its flow, one for each who is told.

Here is error tracking, which every flow has; `failure_mail` has that of reports.

Prefect calls them when a run has ended as Failed, so not while attempts are left. Whoever ends a
run from outside, because its process died too often, calls the same functions. An error in one is
logged and does not reach the other. Slack is told by Prefect: see `deployments/alerts`.
"""

from typing import Any, Final

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from autoindex.masking import masked
from autoindex.settings import Settings
from flows.visibility import error_tracking

_LONGEST_REASON: Final = 2_000


def track(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Send the exception to error tracking, where that is on."""
    error_tracking.report(
        Settings(),
        task_id=str(flow_run.id),
        kind=flow.name,
        parameters=flow_run.parameters,
        reason=reason_of(state),
        error=_exception(state),
    )


def reason_of(state: State[Any]) -> str:
    """Why a run has failed, in as many words as fit."""
    return masked(state.message or state.name or "no reason given")[:_LONGEST_REASON]


def _exception(state: State[Any]) -> BaseException | None:
    found: Any = getattr(state.data, "result", state.data)
    return found if isinstance(found, BaseException) else None
