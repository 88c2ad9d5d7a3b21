"""Pause queues, and resume them: Prefect's own pause of work queues."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api.async_storage import Database
from api.auth.tokens import Scope
from api.routes.dependencies import By, Runner, Stored, requires
from api.routes.guarded_route import TaskRoute
from api.routes.task_routes import PREFIX
from api.schemas import QueueState, QueueStates
from api.tasks.runner import TaskRunner
from api.tasks.work_pool import QueueUnknown
from autoindex.storage import audit
from autoindex.storage.audit import Act, Author

router = APIRouter(
    prefix=f"{PREFIX}/queues",
    tags=["background tasks"],
    route_class=TaskRoute,
    dependencies=[Depends(requires(Scope.ADMIN))],
)

Name = Annotated[str, Path(description="The queue's name.", examples=["high_priority"])]


@router.post("/pause", operation_id="pauseQueues")
async def pause_all(by: By, runner: Runner, database: Stored) -> QueueStates:
    """Start no task until the queues are resumed; what runs goes on, and starts are queued."""
    return await _set(None, by, runner, database, paused=True)


@router.post("/resume", operation_id="resumeQueues")
async def resume_all(by: By, runner: Runner, database: Stored) -> QueueStates:
    """Start tasks again; of a schedule's missed runs only the newest does its work."""
    return await _set(None, by, runner, database, paused=False)


@router.post("/{name}/pause", operation_id="pauseQueue")
async def pause(name: Name, by: By, runner: Runner, database: Stored) -> QueueStates:
    """Start no task of this queue until it is resumed; what runs goes on."""
    return await _set(name, by, runner, database, paused=True)


@router.post("/{name}/resume", operation_id="resumeQueue")
async def resume(name: Name, by: By, runner: Runner, database: Stored) -> QueueStates:
    """Start tasks of this queue again."""
    return await _set(name, by, runner, database, paused=False)


async def _set(
    name: str | None, by: Author, runner: TaskRunner, database: Database, *, paused: bool
) -> QueueStates:
    """Pause or resume a queue, or all; raises `QueueUnknown`."""
    known = await runner.pool.queues()
    if name is not None and name not in known:
        raise QueueUnknown
    chosen = [*known] if name is None else [name]
    acts: list[Act] = [(one, {"paused": known[one]}, {"paused": paused}) for one in chosen]
    action = "pause queue" if paused else "resume queue"
    await database.transact(audit.record_all, by, action, acts)
    queues = await runner.pool.pause(chosen, paused=paused)
    return QueueStates(
        queues=[QueueState(name=name, paused=paused) for name, paused in queues.items()]
    )
