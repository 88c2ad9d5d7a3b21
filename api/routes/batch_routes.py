"""Cancel or retry many tasks: a preview first, then exactly what it showed."""

import json
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from api.async_storage import Database
from api.auth.identity import User
from api.auth.tokens import Scope
from api.problems import Problem, forbidden
from api.routes.batch_work import Working
from api.routes.dependencies import By, CurrentUser, Runner, Stored, count_start, requires
from api.routes.guarded_route import TaskRoute
from api.routes.task_routes import PREFIX, TaskFilter
from api.schemas import BatchState
from api.tasks import runner
from api.tasks.batches import Act, Batch
from api.tasks.runner import TaskRunner
from autoindex.storage import audit
from autoindex.storage.audit import Author

router = APIRouter(
    prefix=PREFIX,
    tags=["background tasks"],
    route_class=TaskRoute,
    dependencies=[Depends(requires(Scope.RUN, Scope.ADMIN))],
)


class BatchRequest(TaskFilter):
    """Which tasks, and whether they are only shown."""

    dry_run: bool = Field(
        default=True, description="Only show the tasks. True unless said otherwise."
    )
    token: UUID | None = Field(
        default=None,
        description="The `token` of the preview, whose tasks are acted on without `dry_run`.",
    )


counted = Depends(count_start)

BatchId = Annotated[UUID, Path(description="The batch's id: the token of its preview.")]


@router.post("/cancel", operation_id="cancelTasks", dependencies=[counted])
async def cancel_many(
    body: BatchRequest,
    user: CurrentUser,
    by: By,
    runner: Runner,
    database: Stored,
    working: Working,
    response: Response,
) -> BatchState:
    """Cancel all tasks that a filter matches and that have not ended.

    The first request shows them and a token. The same request with `"dry_run": false` and the
    token cancels exactly those. Sent again, it goes on where it was interrupted.
    """
    return await _answer(Act.CANCEL, body, user, by, runner, database, working, response)


@router.post("/retry", operation_id="retryTasks", dependencies=[counted])
async def retry_many(
    body: BatchRequest,
    user: CurrentUser,
    by: By,
    runner: Runner,
    database: Stored,
    working: Working,
    response: Response,
) -> BatchState:
    """Retry all tasks that a filter matches, that have ended and were not retried.

    The first request shows them and a token. The same request with `"dry_run": false` and the
    token retries exactly those. Sent again, it goes on where it was interrupted.
    """
    return await _answer(Act.RETRY, body, user, by, runner, database, working, response)


@router.get("/batches/{batch_id}", operation_id="readBatch")
async def read_batch(batch_id: BatchId, user: CurrentUser, runner: Runner) -> BatchState:
    """Read how far a batch is; another user's needs the scope `tasks:admin`."""
    batch = await runner.batches.read(batch_id)
    _check_user(batch, user)
    return BatchState.of(batch)


async def _answer(
    act: Act,
    body: BatchRequest,
    user: User,
    by: Author,
    runner: TaskRunner,
    database: Database,
    working: Working,
    response: Response,
) -> BatchState:
    query = _query(body, user)
    wanted = body.model_dump_json(exclude={"dry_run", "token"})
    if body.dry_run:
        chosen = await runner.choose(act, query)
        ids = [task.id for task in chosen]
        return BatchState.of(await runner.batches.create(act, user.name, wanted, ids))
    if body.token is None:
        detail = "send the request with dry_run first, and the token that it answers with"
        raise Problem(HTTPStatus.CONFLICT, detail, name="no-preview")
    batch = await runner.batches.read(body.token)
    _check_user(batch, user)
    if (batch.act, batch.wanted) != (act, wanted):
        detail = "this token is of another request; send the same fields as in its preview"
        raise Problem(HTTPStatus.CONFLICT, detail, name="other-preview")
    noted = {"tasks": len(batch.task_ids), "filter": json.loads(wanted)}
    await database.transact(audit.record, by, f"{act} tasks", batch.id, after=noted)
    response.headers["Location"] = f"{PREFIX}/batches/{batch.id}"
    return BatchState.of(working.begin(batch, user, by))


def _query(body: BatchRequest, user: User) -> runner.Query:
    """The filter; only administrators act on tasks of others."""
    if not user.may(Scope.ADMIN) and body.user not in (None, user.name):
        raise forbidden(f"only {Scope.ADMIN} may act on tasks of others", Scope.ADMIN)
    owner = body.user if user.may(Scope.ADMIN) else user.name
    return runner.Query(body.kind, body.status, owner, body.since)


def _check_user(batch: Batch, user: User) -> None:
    if batch.user != user.name and not user.may(Scope.ADMIN):
        detail = f"the batch is another user's, and the scope {Scope.ADMIN} is missing"
        raise forbidden(detail, Scope.ADMIN)
