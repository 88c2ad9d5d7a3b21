"""Find runs whose process, worker or host is gone, and have them finalized.

Every worker does this. Seizing a lease is one statement, which succeeds for one worker only, so
that no leader is needed. `finalization` decides what becomes of such a run. See docs/decisions.
"""

import asyncio
import logging
import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Final
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType

from autoindex.storage.runs import checkpoints, fence, leases
from autoindex.storage.runs.leases import Lease
from worker.finalization import Finalizer
from worker.lease_manager import LeaseManager
from worker.outages import CALL_ERRORS, without_client_retries
from worker.run_limits import Exit, ExitCause

_log = logging.getLogger("prefect.workers.autoindex")

# Scans within a lease's lifetime.
_SCANS: Final = 5
_IDLE: Final = timedelta(days=7)
_DELETE_IDLE_SECONDS: Final = 3600.0
_PAGE: Final = 200
_ACTIVE: Final = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_LOST: Final = Exit(ExitCause.LOST, 0)


class Recovery:
    """Scans a work pool for lost runs every few seconds."""

    def __init__(
        self, client: PrefectClient, lease_manager: LeaseManager, finalizer: Finalizer, pool: str
    ) -> None:
        self._client = client
        self._lease_manager = lease_manager
        self._finalizer = finalizer
        self._pool = pool
        self._lifetime_seconds = lease_manager.lifetime.total_seconds()
        self._unheld: dict[UUID | None, float] = {}
        self._delete_idle_at = 0.0

    async def run(self) -> None:
        """Scan until cancelled."""
        # Several workers scan at different moments.
        while True:
            pause = self._lifetime_seconds / _SCANS * random.uniform(0.7, 1.3)  # noqa: S311
            await asyncio.sleep(pause)
            if not self._may_seize():
                continue
            try:
                await self._seize_expired()
                await self._take_unheld()
                await self._delete_idle()
            except CALL_ERRORS as error:
                _log.warning("the scan for lost runs failed: %s", error)

    async def _delete_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        if now > self._delete_idle_at:
            self._delete_idle_at = now + _DELETE_IDLE_SECONDS
            await self._lease_manager.call(leases.forget_idle, _IDLE)
            await self._lease_manager.call(checkpoints.forget_idle, _IDLE)

    def _may_seize(self) -> bool:
        """Whether every holder has had time to renew since the database is available again."""
        since = self._lease_manager.reachable_since
        now = asyncio.get_running_loop().time()
        return since is not None and now - since > self._lifetime_seconds

    async def _seize_expired(self) -> None:
        for lost in await self._lease_manager.call(leases.expired):
            seized = await self._lease_manager.call(
                leases.seize, lost, self._lease_manager.holder, self._lease_manager.lifetime
            )
            if seized is not None:
                _log.warning("run %s: its lease was not renewed by %s", lost.task_id, lost.holder)
                await self._finalize(seized)

    async def _take_unheld(self) -> None:
        """Take runs that a worker claimed, and died before it took their lease.

        A run that has just been claimed gets a lease's lifetime: its worker is about to take it.
        """
        now = asyncio.get_running_loop().time()
        runs = {run.id: run for run in await self._active_runs()}
        held = await self._lease_manager.call(leases.held, list(runs))
        # By state: a run that was rescheduled and claimed again gets another lifetime.
        unheld = {runs[id_].state_id: id_ for id_ in runs.keys() - held}
        self._unheld = {state: self._unheld.get(state, now) for state in unheld}
        overdue = [
            unheld[state]
            for state, since in self._unheld.items()
            if now - since > self._lifetime_seconds
        ]
        for lease in await self._take(overdue):
            state = runs[lease.task_id].state_name
            _log.warning("run %s is %s, but no worker holds it", lease.task_id, state)
            await self._finalize(lease)

    async def _finalize(self, lease: Lease) -> None:
        await self._lease_manager.call(fence.evict, lease.task_id)
        await self._finalizer.finalize(lease, _LOST)

    async def _take(self, task_ids: Iterable[UUID]) -> list[Lease]:
        holder = self._lease_manager.holder
        taken = [
            await self._lease_manager.call(leases.take, id_, holder, self._lease_manager.lifetime)
            for id_ in task_ids
        ]
        return [lease for lease in taken if lease is not None]

    async def _active_runs(self) -> list[FlowRun]:
        with without_client_retries():
            return await self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ACTIVE))
                ),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool])),
                limit=_PAGE,
            )
