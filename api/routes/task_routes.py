"""Start a task, follow it, cancel it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from api.async_storage import Database
from api.auth.tokens import Scope
from api.routes import cursors
from api.routes.cursors import Cursor, PageQuery
from api.routes.dependencies import (
    By,
    CurrentSettings,
    CurrentUser,
    Following,
    Listed,
    Runner,
    Stored,
    requires,
)
from api.routes.guarded_route import TaskRoute
from api.routes.ownership import check_owner
from api.routes.submission import NAMES, Start
from api.schemas import (
    ActiveTasks,
    ActivityStats,
    TaskId,
    TaskList,
    TaskQueued,
    TaskSummary,
    UserName,
    grouped,
)
from api.tasks import runner
from api.tasks.runner import DEPLOYMENTS, Kind, Place, Status, Task, TaskFinished
from autoindex.requests import (
    CleanupRequest,
    ComputeIndexRequest,
    RefreshRequest,
    ReportRequest,
    TaskRequest,
)
from autoindex.settings import Settings
from autoindex.storage.prices import stored_window
from autoindex.storage.runs import shared_tasks
from autoindex.storage.universe import memberships

PREFIX: Final = "/api/v1/background"

router = APIRouter(prefix=PREFIX, tags=["background tasks"], route_class=TaskRoute)

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)

reader = Depends(requires(Scope.READ))
starter = Depends(requires(Scope.RUN))
administrator = Depends(requires(Scope.ADMIN))


@router.post(
    "/refresh",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="startRefresh",
    dependencies=[starter],
)
async def refresh(
    body: RefreshRequest, start: Start, database: Stored, settings: CurrentSettings
) -> TaskQueued:
    """Bring daily prices up to date, then the index."""
    await check_request(body, database, settings)
    return await start.queue(Kind.REFRESH, body)


@router.post(
    "/compute-index",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="startComputeIndex",
    dependencies=[starter],
)
async def compute_index(
    body: ComputeIndexRequest, start: Start, database: Stored, settings: CurrentSettings
) -> TaskQueued:
    """Compute levels, allocations and metrics of an index."""
    await check_request(body, database, settings)
    return await start.queue(Kind.COMPUTE, body)


@router.post(
    "/generate-report",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="startReport",
    dependencies=[starter],
)
async def generate_report(
    body: ReportRequest, start: Start, database: Stored, settings: CurrentSettings
) -> TaskQueued:
    """Make a report on an index, and mail it to the address, if one is given."""
    await check_request(body, database, settings)
    return await start.queue(Kind.REPORT, body)


@router.post(
    "/cleanup",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="startCleanup",
    dependencies=[administrator],
)
async def cleanup(body: CleanupRequest, start: Start) -> TaskQueued:
    """Archive and delete old data; needs the scope `tasks:admin`."""
    return await start.queue(Kind.CLEANUP, body)


async def check_request(body: TaskRequest, database: Database, settings: Settings) -> None:
    """Raise `InvalidRequest` for what could only fail.

    Symbols outside the universe, an end before all stored prices, a mail without a mail server.
    """
    if isinstance(body, RefreshRequest) and body.symbols is not None:
        await database.read(memberships.resolve, settings.now().date(), body.symbols)
    if isinstance(body, ComputeIndexRequest) and body.end_date is not None:
        await database.read(stored_window.check_end, body.end_date)
    if isinstance(body, ReportRequest):
        body.check_mail(settings)


Since = Annotated[AwareDatetime, Field(ge=_EARLIEST, le=_LATEST)]


class TaskFilter(BaseModel):
    """Which tasks."""

    model_config = {"extra": "forbid"}

    kind: Kind | None = None
    status: Status | None = None
    user: UserName | None = None
    since: Since | None = Field(
        default=None, description="Only tasks that were due at this time or later."
    )


class ListQuery(PageQuery, TaskFilter):
    """The filters and the page of a list."""

    per_page: int = Field(default=50, ge=1, le=200)


# As `Place`, within what Prefect can compare.
TaskCursor = Cursor[tuple[Since, tuple[UUID, ...]]]


@router.get("/tasks", operation_id="listTasks", dependencies=[reader])
async def list_tasks(
    request: Request, query: Annotated[ListQuery, Query()], lists: Listed, response: Response
) -> TaskList:
    """List tasks that are or were due, newest first; `/active` shows scheduled ones."""
    cursor = TaskCursor.of(request, query)
    wanted = runner.Query(query.kind, query.status, query.user, query.since)
    after = None if cursor.after is None else Place(*cursor.after)
    number = query.page if after is None else 1
    found = await lists.search(wanted, page=number, per_page=query.per_page, after=after)
    if found.end is not None and cursor.may_go_on:
        end = (found.end.due_at, found.end.task_ids)
        response.headers.update(cursors.link(request, cursor.then(query.per_page, end)))
    return TaskList(
        tasks=[TaskSummary.of(task) for task in found.tasks],
        total=cursor.rows + found.total,
        page=cursor.page,
        per_page=query.per_page,
    )


@router.get(
    "/active",
    operation_id="readActiveTasks",
    dependencies=[reader],
    response_model_exclude_unset=True,
)
async def active(lists: Listed) -> ActiveTasks:
    """Read running, due and scheduled tasks: the first 200 of each group."""
    now = await lists.activity()
    shown = ActiveTasks(
        active=_by(now.active.tasks, "worker"),
        reserved=_by(now.reserved.tasks, "queue"),
        scheduled=_by_deployment(now.scheduled.tasks),
        stats=ActivityStats(
            total_active=now.active.total,
            total_scheduled=now.scheduled.total,
            total_reserved=now.reserved.total,
        ),
        paused=list(now.paused),
    )
    return shown if now.workers else shown.model_copy(update={"error": "No worker is online"})


def _by(found: Sequence[Task], field: str) -> dict[str, list[TaskSummary]]:
    return grouped(found, [getattr(task, field) or "unknown" for task in found])


def _by_deployment(found: Sequence[Task]) -> dict[str, list[TaskSummary]]:
    return grouped(found, ["/".join(DEPLOYMENTS[task.kind]) for task in found])


@router.delete(
    "/task/{task_id}",
    status_code=HTTPStatus.ACCEPTED,
    operation_id="cancelTask",
    dependencies=[Depends(requires(Scope.RUN, Scope.ADMIN))],
)
async def cancel(
    task_id: TaskId,
    user: CurrentUser,
    by: By,
    runner: Runner,
    database: Stored,
    subscriptions: Following,
) -> TaskQueued:
    """Cancel a task, started or not; another user's task needs the scope `tasks:admin`.

    A task that several users have asked for goes on until the last of them has cancelled it, or an
    administrator has.
    """
    task = await runner.read(task_id)
    await check_owner(user, task, "cancel", database)
    if task.status.final and task.status is not Status.REVOKED:
        raise TaskFinished(task.status)
    owners = {task_id: task.user}
    if not await database.transact(shared_tasks.cancel, by, owners, for_all=user.may(Scope.ADMIN)):
        subscriptions.changed(task_id)
        message = f"{NAMES[task.kind]} task cancelled for you; others have asked for it too"
        return TaskQueued(task_id=task_id, status=Status.REVOKED, message=message)
    cancelled = await runner.cancel(task_id, user=user.name)
    ended = cancelled.completed_at is not None
    message = f"{NAMES[task.kind]} task " + ("cancelled" if ended else "is being cancelled")
    return TaskQueued(task_id=task_id, status=cancelled.status, message=message)
