"""What becomes of a run whose process has ended, as its state says and as the process ended."""

import asyncio
import logging
import signal
from collections.abc import Sequence
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

from autoindex.storage import leases, progress
from autoindex.storage.leases import Lease
from deployments.child import describe
from deployments.worker.endurance import until_back
from deployments.worker.keeper import Keeper
from deployments.worker.order import Order
from deployments.worker.starter import Starter
from deployments.worker.supervision import LIMIT_EXCEEDED, LOST, Cause, Ending

_log = logging.getLogger("prefect.workers.autoindex")

MOST_DEATHS: Final = 3
"""So often a run whose process died is sent round again."""
_HOOK_SECONDS: Final = 60.0
# What a process has told Prefect last may still be on its way when the process is gone.
_ON_ITS_WAY_SECONDS: Final = 1.0
_OPEN: Final = [StateType.PENDING, StateType.RUNNING, StateType.SCHEDULED]


class Settlement:
    """Decides a run's next state, proposes it, and lets go of the run's lease."""

    def __init__(self, client: PrefectClient, keeper: Keeper, starter: Starter) -> None:
        self._client = client
        self._keeper = keeper
        self._starter = starter

    async def conclude(self, lease: Lease, ending: Ending) -> None:
        """Bring a run to where its process's end leaves it; as often as Prefect is away for it.

        Does nothing for a run that another worker has taken over.
        """

        async def settle() -> None:
            if await self._keeper.is_ours(lease):
                await self._settle(lease, ending)

        await until_back(settle, f"run {lease.task_id} can't be concluded yet")

    async def leave(self, task_id: UUID) -> None:
        """Put back a run that was claimed, but that another worker does not let go of."""
        await until_back(lambda: self._leave(task_id), f"run {task_id} can't be left yet")

    async def _leave(self, task_id: UUID) -> None:
        states = await self._history(task_id)
        if not states or not states[-1].is_pending():  # it is claimed no longer
            return
        before = _before_a_claim(states)
        if before is not None and before.is_final():
            await self._client.set_flow_run_state(task_id, before, force=True)
            return
        later = _again("another worker has not let go of it yet")
        await propose_state(self._client, later, flow_run_id=task_id)

    async def had_ended(self, lease: Lease) -> bool:
        """Whether a run had ended before it was claimed; then it is put back to where it was.

        Prefect lets a run go from an end to Pending, so that a claim counts that was a long time
        on its way, from a host that was cut off, say.
        """
        if lease.is_first:
            return False
        unread = f"the past of run {lease.task_id} can't be read yet"
        return await until_back(lambda: self._put_back(lease), unread)

    async def _put_back(self, lease: Lease) -> bool:
        states = await self._history(lease.task_id)
        end = _before_a_claim(states)
        if end is None or not end.is_final() or not await self._keeper.is_ours(lease):
            return False
        if end is not states[-1]:  # or else somebody has put it back already
            _log.warning("run %s had ended before it was claimed: %s", lease.task_id, end.name)
            await self._client.set_flow_run_state(lease.task_id, end, force=True)
        await self._let_go(lease, end, died=False)
        return True

    async def _history(self, task_id: UUID) -> list[State]:
        states = await self._client.read_flow_run_states(task_id)
        return sorted(states, key=lambda state: state.timestamp)

    async def _settle(self, lease: Lease, ending: Ending) -> None:
        try:
            run = await self._left_by_its_process(lease, ending)
        except ObjectNotFound:  # deleted meanwhile
            await self._keeper.call(leases.end, lease)
            return
        state = run.state
        if state is None or state.is_scheduled() or (state.is_final() and not state.is_crashed()):
            await self._let_go(lease, state, died=False)
            return
        if state.is_pending() and await self._put_back(lease):
            return
        wanted = await self._wanted(run, ending, lease.deaths)
        await self._close_subtasks(run, wanted)
        reached = await self._propose(run, wanted)
        reached = await self._unless_it_had_ended(lease, reached)
        await self._let_go(lease, reached, died=ending.cause in (Cause.BY_ITSELF, Cause.LOST))
        if reached.is_failed():
            await self._call_hooks(lease)

    async def _left_by_its_process(self, lease: Lease, ending: Ending) -> FlowRun:
        run = await self._client.read_flow_run(lease.task_id)
        if ending.cause is not Cause.LOST and run.state is not None and run.state.is_running():
            await asyncio.sleep(_ON_ITS_WAY_SECONDS)
            run = await self._client.read_flow_run(lease.task_id)
        return run

    async def _unless_it_had_ended(self, lease: Lease, reached: State) -> State:
        """Put a run back whose end came in between: Prefect lets a run leave most ends."""
        states = await self._history(lease.task_id)
        ours = next((n for n, state in enumerate(states) if state.id == reached.id), 0)
        end = _before_a_claim(states[:ours])
        if end is None or not end.is_final() or end.is_crashed():
            return reached
        _log.warning("run %s had ended before it was given up: %s", lease.task_id, end.name)
        await self._client.set_flow_run_state(lease.task_id, end, force=True)
        return end

    async def _let_go(self, lease: Lease, state: State | None, *, died: bool) -> None:
        self._keeper.drop(lease)
        if state is not None and state.is_scheduled():
            await self._keeper.call(leases.give_back, lease, died=died)
        else:
            await self._keeper.call(leases.end, lease)

    async def _call_hooks(self, lease: Lease) -> None:
        """Tell who wants to be told of a failure; the engine that would have is gone."""
        entrypoint = await self._entrypoint(lease)
        order = Order(task_id=lease.task_id, purpose="hooks", entrypoint=entrypoint)
        process = await self._starter.start(order)
        try:
            await asyncio.wait_for(asyncio.shield(process.ended), _HOOK_SECONDS)
        except TimeoutError:
            _log.warning("the failure hooks of run %s took too long", lease.task_id)
            process.send(signal.SIGKILL)

    async def _entrypoint(self, lease: Lease) -> str | None:
        run = await self._client.read_flow_run(lease.task_id)
        if run.deployment_id is None:
            return None
        return (await self._client.read_deployment(run.deployment_id)).entrypoint

    async def _wanted(self, run: FlowRun, ending: Ending, deaths: int) -> State:
        assert run.state is not None  # noqa: S101 - seen to by `_settle`
        if run.state.is_cancelling() or ending.cause is Cause.CANCELLED:
            return Cancelled(message=run.state.message or "Cancelled")
        if ending.cause is Cause.LIMIT:
            return Failed(name=LIMIT_EXCEEDED, message=await self._at(run, ending.reason))
        if ending.cause is Cause.HANDED_BACK:
            return _again("its worker was stopped; it goes on with the next one")
        died = f"its process ended with {describe(ending.status)}"
        if ending.cause is Cause.LOST:
            died = "its worker was not heard of any more"
        if run.state.is_crashed():  # what Prefect's engine calls it where it is interrupted
            died = run.state.message or "it crashed"
        if deaths < MOST_DEATHS:
            return _again(f"{died}; attempt {deaths + 2} of {MOST_DEATHS + 1} follows")
        return Failed(
            name=LOST,
            message=f"{died}; {deaths} attempts before it were lost, too; given up",
        )

    async def _at(self, run: FlowRun, reason: str) -> str:
        """The reason with how far the run had come, where it has said."""
        found = (await self._keeper.call(progress.read, [run.id])).get(run.id)
        if found is None or found.completed is None:
            return reason
        return f"{reason}, after {found.completed:,} of {found.total:,} {found.what}"

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

    async def _propose(self, run: FlowRun, wanted: State) -> State:
        try:
            reached = await propose_state(self._client, wanted, flow_run_id=run.id)
        except Abort as refused:
            _log.info("run %s stays as it is: %s", run.id, refused)
            return (await self._client.read_flow_run(run.id)).state or wanted
        _log.info("run %s: %s (%s)", run.id, reached.name, reached.message)
        return reached


def _before_a_claim(states: Sequence[State]) -> State | None:
    return next((state for state in reversed(states) if not state.is_pending()), None)


def _again(message: str, seconds: float = 0.0) -> State:
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return AwaitingRetry(scheduled_time=due, message=message)
