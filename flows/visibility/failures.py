"""Failure hooks: what happens when a task has failed and has no attempt left.

Every flow has error tracking; `failure_mail` is for reports only. Prefect calls the hooks when a
run has ended as Failed. A worker calls them for a run whose process is gone. An error in one hook
is logged and does not affect the others. Slack is notified by Prefect: see `deployments/alerts`.
"""

from typing import Any, Final

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from autoindex.masking import masked
from autoindex.settings import Settings
from flows.visibility import error_tracking

_LONGEST_REASON: Final = 2_000


def track(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Send the exception to error tracking, if that is configured."""
    error_tracking.report(
        Settings(),
        task_id=str(flow_run.id),
        kind=flow.name,
        parameters=flow_run.parameters,
        reason=reason_of(state),
        error=_exception(state),
    )


def reason_of(state: State[Any]) -> str:
    """Why a run has failed, masked and cut to length."""
    return masked(state.message or state.name or "no reason given")[:_LONGEST_REASON]


def _exception(state: State[Any]) -> BaseException | None:
    found: Any = getattr(state.data, "result", state.data)
    return found if isinstance(found, BaseException) else None
