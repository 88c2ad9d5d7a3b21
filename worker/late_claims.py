"""Claims that reach Prefect after their run has ended, and how such a run is put back.

Prefect lets a run go from most final states to Pending, so that a claim counts that was sent long
before, from a host that was cut off, say.
"""

import logging
from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import AwaitingRetry
from prefect.utilities.engine import propose_state

from autoindex.storage.runs.leases import Lease
from worker.lease_manager import LeaseManager
from worker.outages import until_available, without_client_retries

_log = logging.getLogger("prefect.workers.autoindex")


class LateClaims:
    """Puts runs back to the state that they had before they were claimed."""

    def __init__(self, client: PrefectClient, leases: LeaseManager) -> None:
        self._client = client
        self._leases = leases

    async def give_back(self, task_id: UUID) -> None:
        """Put back a run that was claimed, but that another worker still holds."""
        pending = f"run {task_id} can't be given back yet"
        await until_available(lambda: self._give_back(task_id), pending)

    async def restore(self, lease: Lease) -> State | None:
        """The final state that a run had before it was claimed, to which it is put back."""
        states = await self._history(lease.task_id)
        end = _before_claim(states)
        if end is None or not is_over(end) or not await self._leases.is_ours(lease):
            return None
        if end is not states[-1]:  # or else somebody has put it back already
            _log.warning("run %s had ended before it was claimed: %s", lease.task_id, end.name)
            await self._client.set_flow_run_state(lease.task_id, end, force=True)
        return end

    async def restore_overwritten(self, task_id: UUID, reached: State) -> State:
        """The state a run is left in: one that it ended in just before `reached` was set."""
        states = await self._history(task_id)
        ours = next((n for n, state in enumerate(states) if state.id == reached.id), 0)
        end = _before_claim(states[:ours])
        if end is None or not is_over(end):
            return reached
        _log.warning("run %s had ended before its state was replaced: %s", task_id, end.name)
        await self._client.set_flow_run_state(task_id, end, force=True)
        return end

    async def _give_back(self, task_id: UUID) -> None:
        with without_client_retries():
            states = await self._history(task_id)
            if not states or not states[-1].is_pending():  # it is claimed no longer
                return
            before = _before_claim(states)
            if before is not None and is_over(before):
                await self._client.set_flow_run_state(task_id, before, force=True)
                return
            retry: State = AwaitingRetry(message="another worker has not released it yet")
            try:
                await propose_state(self._client, retry, flow_run_id=task_id)
            except (Abort, ObjectNotFound) as refused:
                _log.info("run %s stays as it is: %s", task_id, refused)

    async def _history(self, task_id: UUID) -> list[State]:
        states = await self._client.read_flow_run_states(task_id)
        return sorted(states, key=lambda state: state.timestamp)


def is_over(state: State) -> bool:
    """Whether a run has ended; what Prefect's engine calls crashed has another attempt."""
    return state.is_final() and not state.is_crashed()


def _before_claim(states: Sequence[State]) -> State | None:
    return next((state for state in reversed(states) if not state.is_pending()), None)
