"""What becomes of a run whose process has ended: the rule (`next_state`), and its steps."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Crashed, Failed
from prefect.utilities.engine import propose_state
from sqlalchemy import Connection

from autoindex.storage.runs import checkpoints, leases, task_progress
from autoindex.storage.runs.leases import Lease
from autoindex.storage.runs.task_progress import Progress
from worker import ended_tasks
from worker.configuration import AutoindexJobConfiguration
from worker.ended_tasks import Ended
from worker.late_claims import LateClaims, is_over
from worker.launcher import Launcher
from worker.lease_manager import LeaseManager
from worker.outages import Outages, until_available, without_client_retries
from worker.parent_death import describe
from worker.run_limits import LIMIT_EXCEEDED, LOST, Exit, ExitCause, Supervisor
from worker.run_spec import RunSpec

_log = logging.getLogger("prefect.workers.autoindex")

MAX_RESTARTS: Final = 3
"""How often a run whose process died is started again."""
# What keeps a worker from starting a run, as a server that restarts, may last for a while.
_NOT_STARTED_SECONDS: Final = 5.0
_HOOK_SECONDS: Final = 60.0
# Prefect may still handle the last request of a process when the process has ended.
_LAST_REQUEST_SECONDS: Final = 1.0
_OPEN: Final = [StateType.PENDING, StateType.RUNNING, StateType.SCHEDULED]


def next_state(run: FlowRun, exited: Exit, deaths: int, progress: Progress | None) -> State:
    """The state a run gets when its process has ended without setting one itself.

    `deaths` are those of earlier attempts; `progress` is the last that the run reported.
    """
    state, cause = run.state, exited.cause
    if cause is ExitCause.CANCELLED or (state is not None and state.is_cancelling()):
        return Cancelled(message=(state.message if state is not None else None) or "Cancelled")
    if cause is ExitCause.LIMIT:
        return Failed(name=LIMIT_EXCEEDED, message=_with_progress(exited.reason, progress))
    if cause is ExitCause.HANDED_BACK:
        return _retry("its worker was stopped; another worker continues it")
    died = _death(state, exited)
    if deaths < MAX_RESTARTS:
        seconds = _NOT_STARTED_SECONDS if cause is ExitCause.NOT_STARTED else 0.0
        return _retry(f"{died}; attempt {deaths + 2} of {MAX_RESTARTS + 1} follows", seconds)
    return Failed(name=LOST, message=f"{died}; {deaths} earlier attempts were lost, too")


def _retry(message: str, seconds: float = 0.0) -> State:
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return AwaitingRetry(scheduled_time=due, message=message)


def _death(state: State | None, exited: Exit) -> str:
    if state is not None and state.is_crashed():  # by Prefect's engine, when it is interrupted
        return state.message or "it crashed"
    if exited.cause is ExitCause.LOST:
        return "its worker stopped responding"
    if exited.cause is ExitCause.NOT_STARTED:
        return exited.reason
    return f"its process ended with {describe(exited.status)}"


def _with_progress(reason: str, progress: Progress | None) -> str:
    if progress is None or progress.completed is None:
        return reason
    return f"{reason}, after {progress.completed:,} of {progress.total:,} {progress.what}"


@dataclass
class _Case:
    """A run to be finalized, and which steps are done: none is done twice."""

    lease: Lease
    exited: Exit
    run: FlowRun | None = None
    proposed: State | None = None
    reached: State | None = None
    """The state the run is left in; None where the run was deleted."""
    is_decided: bool = False
    died: bool = False
    calls_hooks: bool = False

    def decide(
        self, reached: State | None, *, died: bool = False, calls_hooks: bool = False
    ) -> None:
        self.reached, self.died, self.calls_hooks = reached, died, calls_hooks
        self.is_decided = True


class Finalizer:
    """Proposes a run's next state to Prefect, and releases the run's lease."""

    def __init__(
        self,
        client: PrefectClient,
        lease_manager: LeaseManager,
        launcher: Launcher,
        outages: Outages,
    ) -> None:
        self._client = client
        self._outages = outages
        self._lease_manager = lease_manager
        self._launcher = launcher
        self._claims = LateClaims(client, lease_manager)

    async def finalize(self, lease: Lease, exited: Exit) -> None:
        """Set the run's state, release it, and call its hooks; waits for unavailable parts.

        Does nothing for a run that another worker has taken over.
        """
        case, run = _Case(lease, exited), f"run {lease.task_id}"
        await until_available(lambda: self._finalize(case), f"{run} can't be finalized yet")
        if case.calls_hooks:
            pending = f"the failure hooks of {run} can't be called yet"
            await until_available(lambda: self._call_hooks(lease.task_id), pending)

    async def had_ended(self, lease: Lease) -> bool:
        """Whether a run had ended before it was claimed; then it is put back and released."""
        if lease.is_first:
            return False
        pending = f"the history of run {lease.task_id} can't be read yet"
        return await until_available(lambda: self._release_ended(lease), pending)

    async def _finalize(self, case: _Case) -> None:
        with without_client_retries():
            if not case.is_decided:
                if not await self._lease_manager.is_ours(case.lease):
                    return
                await self._decide(case)
            await self._release(case.lease, case.reached, died=case.died, run=case.run)

    async def _decide(self, case: _Case) -> None:
        try:
            run = case.run = await self._read_settled(case)
            state = run.state
            if state is None:
                case.decide(None)
                return
            if case.proposed is None or not _is_same(state, case.proposed):
                if _is_final(state):
                    no_hooks_yet = state.is_failed() and case.exited.was_cut_short
                    case.decide(state, calls_hooks=no_hooks_yet)
                    return
                if state.is_pending() and (end := await self._claims.restore(case.lease)):
                    case.decide(end)
                    return
                state = await self._propose(run, case)
            reached = await self._claims.restore_overwritten(run.id, state)
            case.decide(reached, died=case.exited.is_death, calls_hooks=reached.is_failed())
        except ObjectNotFound:
            case.decide(None)

    async def _read_settled(self, case: _Case) -> FlowRun:
        """The run, once Prefect has handled the last request of its process."""
        run = await self._client.read_flow_run(case.lease.task_id)
        was_running = run.state is not None and run.state.is_running()
        if was_running and case.exited.cause is not ExitCause.LOST:
            await asyncio.sleep(_LAST_REQUEST_SECONDS)
            run = await self._client.read_flow_run(case.lease.task_id)
        return run

    async def _propose(self, run: FlowRun, case: _Case) -> State:
        progress = (await self._lease_manager.call(task_progress.read, [run.id])).get(run.id)
        case.proposed = next_state(run, case.exited, case.lease.deaths, progress)
        await self._close_subtasks(run, case.proposed)
        try:
            reached = await propose_state(self._client, case.proposed, flow_run_id=run.id)
        except Abort as refused:
            _log.info("run %s stays as it is: %s", run.id, refused)
            return (await self._client.read_flow_run(run.id)).state or case.proposed
        _log.info("run %s: %s (%s)", run.id, reached.name, reached.message)
        return reached

    async def _release_ended(self, lease: Lease) -> bool:
        with without_client_retries():
            end = await self._claims.restore(lease)
            if end is None:
                return False
            await self._release(lease, end)
            return True

    async def _release(
        self,
        lease: Lease,
        reached: State | None,
        *,
        died: bool = False,
        run: FlowRun | None = None,
    ) -> None:
        self._lease_manager.drop(lease)
        if reached is None or reached.is_final():
            ended = None if run is None or reached is None else ended_tasks.ended(run, reached)
            await self._lease_manager.call(_end, lease, ended)
        else:
            await self._lease_manager.call(leases.give_back, lease, died=died)

    async def _close_subtasks(self, run: FlowRun, proposed: State) -> None:
        """End the subtasks that no process runs, or a later attempt would show them."""
        subtasks = await self._client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
            task_run_filter=TaskRunFilter(
                state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_OPEN))
            ),
        )
        for subtask in subtasks:
            is_cancelled = proposed.is_cancelled()
            state: State = Cancelled() if is_cancelled else Crashed(message=proposed.message)
            await self._client.set_task_run_state(subtask.id, state, force=True)

    async def _call_hooks(self, task_id: UUID) -> None:
        """Call the failure hooks of a run whose engine ended before it called them."""
        try:
            with without_client_retries():
                entrypoint = await self._entrypoint(task_id)
        except ObjectNotFound:
            return
        spec = RunSpec(task_id=task_id, purpose="hooks", entrypoint=entrypoint)
        limits = AutoindexJobConfiguration(hard_time_limit_seconds=_HOOK_SECONDS)
        supervisor = Supervisor(limits, self._outages)
        exited = await supervisor.watch(await self._launcher.start(spec))
        if exited.cause is ExitCause.LIMIT:
            _log.warning("the failure hooks of run %s: %s", task_id, exited.reason)

    async def _entrypoint(self, task_id: UUID) -> str | None:
        run = await self._client.read_flow_run(task_id)
        if run.deployment_id is None:
            return None
        return (await self._client.read_deployment(run.deployment_id)).entrypoint


def _end(connection: Connection, lease: Lease, ended: Ended | None) -> None:
    """Release a finished task, and tell: should it run again, it starts from its beginning."""
    if leases.end(connection, lease):
        checkpoints.forget(connection, lease.task_id)
        if ended is not None:
            ended_tasks.tell(connection, ended)


def _is_final(state: State) -> bool:
    """Whether no state is to be added; a suspended run continues when somebody resumes it."""
    return is_over(state) or state.is_scheduled() or state.is_paused()


def _is_same(state: State, proposed: State) -> bool:
    return (state.name, state.message) == (proposed.name, proposed.message)
