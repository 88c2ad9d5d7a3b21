"""Pause queues, and resume them: Prefect's own pause of work queues."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api.auth.tokens import Scope
from api.routes.dependencies import Runner, requires
from api.routes.guarded_route import TaskRoute
from api.routes.task_routes import PREFIX
from api.schemas import QueueState, QueueStates

router = APIRouter(
    prefix=f"{PREFIX}/queues",
    tags=["background tasks"],
    route_class=TaskRoute,
    dependencies=[Depends(requires(Scope.ADMIN))],
)

Name = Annotated[str, Path(description="The queue's name.", examples=["high_priority"])]


@router.post("/pause", operation_id="pauseQueues")
async def pause_all(runner: Runner) -> QueueStates:
    """Start no task until the queues are resumed; what runs goes on, and starts are queued."""
    return _states(await runner.pool.pause(None, paused=True))


@router.post("/resume", operation_id="resumeQueues")
async def resume_all(runner: Runner) -> QueueStates:
    """Start tasks again; of a schedule's missed runs only the newest does its work."""
    return _states(await runner.pool.pause(None, paused=False))


@router.post("/{name}/pause", operation_id="pauseQueue")
async def pause(name: Name, runner: Runner) -> QueueStates:
    """Start no task of this queue until it is resumed; what runs goes on."""
    return _states(await runner.pool.pause(name, paused=True))


@router.post("/{name}/resume", operation_id="resumeQueue")
async def resume(name: Name, runner: Runner) -> QueueStates:
    """Start tasks of this queue again."""
    return _states(await runner.pool.pause(name, paused=False))


def _states(queues: Mapping[str, bool]) -> QueueStates:
    return QueueStates(
        queues=[QueueState(name=name, paused=paused) for name, paused in queues.items()]
    )
