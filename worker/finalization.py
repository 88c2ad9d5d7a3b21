"""What becomes of a run whose process has ended, as its state says and as the process ended."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
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
from prefect.states import Cancelled, Crashed
from prefect.utilities.engine import propose_state
from sqlalchemy import Connection

from autoindex.storage.runs import checkpoints, leases, task_progress
from autoindex.storage.runs.leases import Lease
from worker import verdict
from worker.configuration import AutoindexJobConfiguration
from worker.launcher import Launcher
from worker.lease_manager import LeaseManager
from worker.outages import Outages, until_available, without_client_retries
from worker.run_limits import Exit, ExitCause, Supervisor
from worker.run_spec import RunSpec

_log = logging.getLogger("prefect.workers.autoindex")

_HOOK_SECONDS: Final = 60.0
# What a process has told Prefect last may still be on its way when the process is gone.
_ON_ITS_WAY_SECONDS: Final = 1.0
_OPEN: Final = [StateType.PENDING, StateType.RUNNING, StateType.SCHEDULED]


@dataclass
class _Case:
    """A run to be settled, and how far that has come: no step is taken twice."""

    lease: Lease
    exited: Exit
    wanted: State | None = None
    reached: State | None = None
    """Where the run is left; None where it was deleted."""
    is_decided: bool = False
    died: bool = False
    calls_hooks: bool = False

    def decide(
        self, reached: State | None, *, died: bool = False, calls_hooks: bool = False
    ) -> None:
        self.reached, self.died, self.calls_hooks = reached, died, calls_hooks
        self.is_decided = True


class Finalizer:
    """Decides a run's next state, proposes it, and lets go of the run's lease."""

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

    async def finalize(self, lease: Lease, exited: Exit) -> None:
        """Bring a run to where its process's end leaves it; as often as Prefect is away for it.

        Does nothing for a run that another worker has taken over.
        """
        case, run = _Case(lease, exited), f"run {lease.task_id}"
        await until_available(lambda: self._settle(case), f"{run} can't be concluded yet")
        if case.calls_hooks:
            unasked = f"the failure hooks of {run} can't be called yet"
            await until_available(lambda: self._call_hooks(lease.task_id), unasked)

    async def leave(self, task_id: UUID) -> None:
        """Put back a run that was claimed, but that another worker still holds."""
        await until_available(lambda: self._leave(task_id), f"run {task_id} can't be left yet")

    async def had_ended(self, lease: Lease) -> bool:
        """Whether a run had ended before it was claimed; then it is put back to where it was.

        Prefect lets a run go from an end to Pending, so that a claim counts that was a long time
        on its way, from a host that was cut off, say.
        """
        if lease.is_first:
            return False
        unread = f"the past of run {lease.task_id} can't be read yet"
        return await until_available(lambda: self._give_up_ended(lease), unread)

    async def _settle(self, case: _Case) -> None:
        with without_client_retries():
            if not case.is_decided:
                if not await self._lease_manager.is_ours(case.lease):
                    return
                await self._decide(case)
            await self._let_go(case.lease, case.reached, died=case.died)

    async def _decide(self, case: _Case) -> None:
        try:
            run = await self._left_by_its_process(case)
            state = run.state
            if state is None:
                case.decide(None)
                return
            if case.wanted is None or not _is_same(state, case.wanted):
                if _stands(state):
                    unheard = state.is_failed() and case.exited.was_cut_short
                    case.decide(state, calls_hooks=unheard)
                    return
                if state.is_pending() and (end := await self._put_back(case.lease)) is not None:
                    case.decide(end)
                    return
                state = await self._move(run, case)
            reached = await self._unless_it_had_ended(run.id, state)
            case.decide(reached, died=case.exited.is_death, calls_hooks=reached.is_failed())
        except ObjectNotFound:
            case.decide(None)

    async def _left_by_its_process(self, case: _Case) -> FlowRun:
        run = await self._client.read_flow_run(case.lease.task_id)
        was_running = run.state is not None and run.state.is_running()
        if was_running and case.exited.cause is not ExitCause.LOST:
            await asyncio.sleep(_ON_ITS_WAY_SECONDS)
            run = await self._client.read_flow_run(case.lease.task_id)
        return run

    async def _move(self, run: FlowRun, case: _Case) -> State:
        found = (await self._lease_manager.call(task_progress.read, [run.id])).get(run.id)
        case.wanted = verdict.on(run, case.exited, case.lease.deaths, found)
        await self._close_subtasks(run, case.wanted)
        try:
            reached = await propose_state(self._client, case.wanted, flow_run_id=run.id)
        except Abort as refused:
            _log.info("run %s stays as it is: %s", run.id, refused)
            return (await self._client.read_flow_run(run.id)).state or case.wanted
        _log.info("run %s: %s (%s)", run.id, reached.name, reached.message)
        return reached

    async def _unless_it_had_ended(self, task_id: UUID, reached: State) -> State:
        """Put a run back whose end came in between: Prefect lets a run leave most ends."""
        states = await self._history(task_id)
        ours = next((n for n, state in enumerate(states) if state.id == reached.id), 0)
        end = _before_a_claim(states[:ours])
        if end is None or not _has_ended(end):
            return reached
        _log.warning("run %s had ended before it was given up: %s", task_id, end.name)
        await self._client.set_flow_run_state(task_id, end, force=True)
        return end

    async def _put_back(self, lease: Lease) -> State | None:
        """The end that a run had before it was claimed, to which it is put back."""
        states = await self._history(lease.task_id)
        end = _before_a_claim(states)
        if end is None or not _has_ended(end) or not await self._lease_manager.is_ours(lease):
            return None
        if end is not states[-1]:  # or else somebody has put it back already
            _log.warning("run %s had ended before it was claimed: %s", lease.task_id, end.name)
            await self._client.set_flow_run_state(lease.task_id, end, force=True)
        return end

    async def _give_up_ended(self, lease: Lease) -> bool:
        with without_client_retries():
            end = await self._put_back(lease)
            if end is None:
                return False
            await self._let_go(lease, end)
            return True

    async def _leave(self, task_id: UUID) -> None:
        with without_client_retries():
            states = await self._history(task_id)
            if not states or not states[-1].is_pending():  # it is claimed no longer
                return
            before = _before_a_claim(states)
            if before is not None and _has_ended(before):
                await self._client.set_flow_run_state(task_id, before, force=True)
                return
            later = verdict.again("another worker has not let go of it yet")
            try:
                await propose_state(self._client, later, flow_run_id=task_id)
            except (Abort, ObjectNotFound) as refused:
                _log.info("run %s stays as it is: %s", task_id, refused)

    async def _history(self, task_id: UUID) -> list[State]:
        states = await self._client.read_flow_run_states(task_id)
        return sorted(states, key=lambda state: state.timestamp)

    async def _let_go(self, lease: Lease, reached: State | None, *, died: bool = False) -> None:
        self._lease_manager.drop(lease)
        if reached is None or reached.is_final():
            await self._lease_manager.call(_end, lease)
        else:
            await self._lease_manager.call(leases.give_back, lease, died=died)

    async def _close_subtasks(self, run: FlowRun, wanted: State) -> None:
        """End the subtasks that nobody works at any more, or a later attempt would show them."""
        subtasks = await self._client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
            task_run_filter=TaskRunFilter(
                state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_OPEN))
            ),
        )
        for subtask in subtasks:
            state: State = Cancelled() if wanted.is_cancelled() else Crashed(message=wanted.message)
            await self._client.set_task_run_state(subtask.id, state, force=True)

    async def _call_hooks(self, task_id: UUID) -> None:
        """Tell who wants to be told of a failure; the engine that would have is gone."""
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


def _end(connection: Connection, lease: Lease) -> None:
    """Let go of a task for good: should it be run again, it begins anew."""
    if leases.end(connection, lease):
        checkpoints.forget(connection, lease.task_id)


def _stands(state: State) -> bool:
    """Whether nothing is to be added; what was suspended goes on when somebody resumes it."""
    return _has_ended(state) or state.is_scheduled() or state.is_paused()


def _has_ended(state: State) -> bool:
    """Whether it is over; what Prefect's engine calls crashed has another attempt."""
    return state.is_final() and not state.is_crashed()


def _is_same(state: State, wanted: State) -> bool:
    return (state.name, state.message) == (wanted.name, wanted.message)


def _before_a_claim(states: Sequence[State]) -> State | None:
    return next((state for state in reversed(states) if not state.is_pending()), None)
