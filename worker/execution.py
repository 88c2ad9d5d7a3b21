"""The runs that this worker executes: each leased, in a process of its own, and finalized."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from anyio.abc import TaskGroup
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound

from flows.attempts.transient_errors import PrefectError, is_transient
from worker.configuration import AutoindexJobConfiguration
from worker.finalization import Finalizer
from worker.late_claims import LateClaims
from worker.launcher import Launcher
from worker.lease_manager import LeaseManager
from worker.outages import Outages, until_available, without_client_retries
from worker.process import Process
from worker.run_limits import Exit, ExitCause, Supervisor

_CANCELLATION_POLL_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 20.0


class Executor:
    """Executes runs from their claim to their end."""

    def __init__(
        self,
        client: PrefectClient,
        lease_manager: LeaseManager,
        launcher: Launcher,
        outages: Outages,
    ) -> None:
        self.finalizer = Finalizer(client, lease_manager, launcher, outages)
        self._claims = LateClaims(client, lease_manager)
        self._client = client
        self._lease_manager = lease_manager
        self._launcher = launcher
        self._outages = outages
        self._runs: dict[UUID, Supervisor] = {}

    @property
    def runs(self) -> Mapping[UUID, Supervisor]:
        """The runs that have a process, or are about to get one."""
        return self._runs

    async def execute(
        self, task_id: UUID, limits: AutoindexJobConfiguration, started: Callable[[str], None]
    ) -> str:
        """Execute one run; `started` is called with what identifies its process, also returned."""
        pending = f"run {task_id} waits for the database"
        lease = await until_available(lambda: self._lease_manager.take(task_id), pending)
        if lease is None:
            await self._claims.give_back(task_id)
            started("elsewhere")
            return "elsewhere"
        supervisor = Supervisor(limits, self._outages)
        self._runs[task_id] = supervisor
        self._lease_manager.keep(lease, supervisor.lose)
        try:
            if await self.finalizer.had_ended(lease):
                started("ended")
                return "ended"
            try:
                process = await self._launcher.start(limits.run_spec(task_id, lease.token))
            except OSError as error:
                started("not at all")
                await self.finalizer.finalize(lease, _not_started(f"no process for it: {error}"))
                return "not at all"
            started(_identifier(process))
            await self.finalizer.finalize(lease, await supervisor.watch(process))
        finally:
            supervisor.kill()
            self._lease_manager.drop(lease)
            del self._runs[task_id]
        return _identifier(process)

    async def fail_start(self, task_id: UUID, reason: str) -> None:
        """Retry a run that could not be started, like one whose process died."""
        pending = f"run {task_id}, which could not be started, waits for the database"
        lease = await until_available(lambda: self._lease_manager.take(task_id), pending)
        if lease is not None:
            await self.finalizer.finalize(lease, _not_started(reason))

    async def stop(self, identifier: str, seconds: float) -> None:
        """Stop a run's process; raises where it is another host's, or has ended."""
        if identifier.rpartition(":")[0] != socket.gethostname():
            raise InfrastructureNotAvailable(f"{identifier} is on another host")
        for run in self._runs.values():
            if run.process is not None and _identifier(run.process) == identifier:
                await run.stop(ExitCause.CANCELLED, seconds)
                return
        raise InfrastructureNotFound(f"there is no {identifier} any more")

    async def watch_cancellations(self, services: TaskGroup) -> None:
        """Stop the processes of runs that are cancelled; notes whether Prefect answers, too."""
        while True:
            await asyncio.sleep(_CANCELLATION_POLL_SECONDS)
            if self._runs:
                for run in await self._cancelling():
                    if (supervisor := self._runs.get(run.id)) is not None:
                        services.start_soon(supervisor.stop, ExitCause.CANCELLED)

    async def _cancelling(self) -> list[FlowRun]:
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found = await self._read_cancelling()
        except (PrefectError, TimeoutError) as error:
            if is_transient(error):
                self._outages.failed("Prefect", asked_at)
                return []
            found = []
        self._outages.answered("Prefect")
        return found

    async def _read_cancelling(self) -> list[FlowRun]:
        cancelling = FlowRunFilterStateType(any_=[StateType.CANCELLING])
        with without_client_retries():
            return await self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    id=FlowRunFilterId(any_=list(self._runs)),
                    state=FlowRunFilterState(type=cancelling),
                )
            )


def _not_started(reason: str) -> Exit:
    return Exit(ExitCause.NOT_STARTED, 0, reason)


def _identifier(process: Process) -> str:
    return f"{socket.gethostname()}:{process.pid}"
