"""Retry a task that has ended."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.auth.tokens import Scope
from api.routes.dependencies import (
    CurrentSettings,
    CurrentUser,
    Following,
    Runner,
    Stored,
    requires,
)
from api.routes.guarded_route import TaskRoute
from api.routes.ownership import check_may_start, check_owner
from api.routes.submission import Retry
from api.routes.task_routes import PREFIX, check_request
from api.schemas import TaskId, TaskQueued
from api.tasks.runner import Kind, Task, TaskNotEnded
from autoindex.requests import (
    CleanupRequest,
    ComputeIndexRequest,
    RefreshRequest,
    ReportRequest,
    TaskRequest,
)

router = APIRouter(prefix=PREFIX, tags=["background tasks"], route_class=TaskRoute)

_REQUESTS: Final[Mapping[Kind, type[TaskRequest]]] = {
    Kind.REFRESH: RefreshRequest,
    Kind.COMPUTE: ComputeIndexRequest,
    Kind.REPORT: ReportRequest,
    Kind.CLEANUP: CleanupRequest,
}

Changes = Annotated[
    dict[str, Any] | None,
    Body(
        description="The parameters that differ from the ended task's; none where it is left out.",
        examples=[{"mode": "full"}],
    ),
]


@router.post(
    "/task/{task_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="retryTask",
    dependencies=[Depends(requires(Scope.RUN, Scope.ADMIN))],
)
async def retry(
    task_id: TaskId,
    user: CurrentUser,
    runner: Runner,
    submission: Retry,
    database: Stored,
    settings: CurrentSettings,
    subscriptions: Following,
    changes: Changes = None,
) -> TaskQueued:
    """Start an ended task again, as a new task with the same or changed parameters.

    A task is retried once: a repeated request gets the same new task. The old task keeps its
    result. Another user's task needs the scope `tasks:admin`.
    """
    task = await runner.read(task_id)
    await check_owner(user, task, "retry", database)
    check_may_start(user, task.kind)
    if not task.ended:
        raise TaskNotEnded(task.status)
    body = changed(task, changes or {})
    await check_request(body, database, settings)
    queued = await submission.retry(task, body)
    subscriptions.snapshots.forget(task_id)
    return queued


def changed(task: Task, changes: Mapping[str, Any]) -> TaskRequest:
    """The request for the task again; raises a 422 where a change is not valid."""
    try:
        return _REQUESTS[task.kind].model_validate({**task.parameters, **changes})
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(found) from None
