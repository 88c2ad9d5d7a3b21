"""Find runs whose process, worker or host is gone, and send them round again.

Every worker looks; a lost lease is seized by one statement of which one worker's succeeds, so that
there is no leader to lose. See docs/decisions.
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

# How many times it is looked within a lease's lifetime.
_LOOKS: Final = 5
_FORGOTTEN: Final = timedelta(days=7)
_FORGET_SECONDS: Final = 3600.0
_A_PAGE: Final = 200
_UNDER_WAY: Final = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_LOST: Final = Exit(ExitCause.LOST, 0)


class Recovery:
    """Looks for lost runs of a work pool, every few seconds, for ever."""

    def __init__(
        self, client: PrefectClient, lease_manager: LeaseManager, finalizer: Finalizer, pool: str
    ) -> None:
        self._client = client
        self._lease_manager = lease_manager
        self._finalizer = finalizer
        self._pool = pool
        self._lifetime_seconds = lease_manager.lifetime.total_seconds()
        self._unheld: dict[UUID | None, float] = {}
        self._forget_at = 0.0

    async def look(self) -> None:
        """Look until cancelled."""
        # Several workers look at different moments.
        while True:
            pause = self._lifetime_seconds / _LOOKS * random.uniform(0.7, 1.3)  # noqa: S311
            await asyncio.sleep(pause)
            if not self._is_fair():
                continue
            try:
                await self._seize_expired()
                await self._find_unheld()
                await self._forget()
            except CALL_ERRORS as error:
                _log.warning("lost runs can't be looked for: %s", error)

    async def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        if now > self._forget_at:
            self._forget_at = now + _FORGET_SECONDS
            await self._lease_manager.call(leases.forget_idle, _FORGOTTEN)
            await self._lease_manager.call(checkpoints.forget_idle, _FORGOTTEN)

    def _is_fair(self) -> bool:
        """Whether every holder has had the time to renew since the database came back."""
        since = self._lease_manager.reachable_since
        now = asyncio.get_running_loop().time()
        return since is not None and now - since > self._lifetime_seconds

    async def _seize_expired(self) -> None:
        for lost in await self._lease_manager.call(leases.expired):
            seized = await self._lease_manager.call(
                leases.seize, lost, self._lease_manager.holder, self._lease_manager.lifetime
            )
            if seized is not None:
                _log.warning("run %s: no sign of life from %s", lost.task_id, lost.holder)
                await self._send_round(seized)

    async def _find_unheld(self) -> None:
        """Runs that were claimed by a worker that died before it held them.

        One that has just been claimed gets a lease's lifetime: its worker is about to take one.
        """
        now = asyncio.get_running_loop().time()
        runs = {run.id: run for run in await self._under_way()}
        held = await self._lease_manager.call(leases.held, list(runs))
        # By state: one that was sent round and claimed again has a lifetime anew.
        unheld = {runs[id_].state_id: id_ for id_ in runs.keys() - held}
        self._unheld = {state: self._unheld.get(state, now) for state in unheld}
        overdue = [
            unheld[state]
            for state, since in self._unheld.items()
            if now - since > self._lifetime_seconds
        ]
        for lease in await self._taken(overdue):
            state = runs[lease.task_id].state_name
            _log.warning("run %s is %s, but no worker has it", lease.task_id, state)
            await self._send_round(lease)

    async def _send_round(self, lease: Lease) -> None:
        await self._lease_manager.call(fence.evict, lease.task_id)
        await self._finalizer.finalize(lease, _LOST)

    async def _taken(self, task_ids: Iterable[UUID]) -> list[Lease]:
        holder = self._lease_manager.holder
        taken = [
            await self._lease_manager.call(leases.take, id_, holder, self._lease_manager.lifetime)
            for id_ in task_ids
        ]
        return [lease for lease in taken if lease is not None]

    async def _under_way(self) -> list[FlowRun]:
        with without_client_retries():
            return await self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))
                ),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool])),
                limit=_A_PAGE,
            )
