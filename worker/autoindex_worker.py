"""The worker itself, on Prefect's public worker class.

Registered through the entry point group `prefect.collections`, so that the ordinary
`prefect worker start --pool autoindex` finds it.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from uuid import UUID

import anyio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.settings import (
    PREFECT_WORKER_QUERY_SECONDS,
    get_current_settings,
    temporary_settings,
)
from prefect.workers.base import BaseVariables, BaseWorker, BaseWorkerResult

from autoindex.errors import ConfigurationError, PartUnavailable
from autoindex.settings import Settings, misspelt
from autoindex.storage.postgres import engines, listening, pooler
from autoindex.storage.runs import pool_owner, worker_notify
from flows.attempts.transient_errors import PrefectError, is_transient
from flows.visibility import events
from worker.configuration import AutoindexJobConfiguration, base_job_template
from worker.finalization import Finalizer
from worker.launcher import Launcher
from worker.lease_manager import LeaseManager
from worker.outages import Outages, until_available, without_client_retries
from worker.prefect_yaml import read_plan
from worker.priority import by_priority
from worker.process import Process
from worker.recovery import Recovery
from worker.run_limits import Exit, ExitCause, Supervisor

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

# Prefect's own defaults are no limit, a poll every 10 s, and claiming runs 10 s before they are
# due, which lets a run of low priority hold a slot while it waits for its time. A worker counts as
# online until it has missed three heartbeats, of which there is one every 30 s.
LIMIT: Final = 4
QUERY_SECONDS: Final = 0.5
PREFETCH_SECONDS: Final = 0.0
HEARTBEAT_SECONDS: Final = 10
_CANCELLING_SECONDS: Final = 1.0
_AWAY_SECONDS: Final = 1.0
# The runs that a later answer names may have been claimed, and have ended, meanwhile.
_ANSWER_SECONDS: Final = 20.0
_SIGN_OFF_SECONDS: Final = 2.0
_CALLS_SECONDS: Final = 0.05
_MOST_AT_ONCE: Final = 200


class AutoindexWorkerResult(BaseWorkerResult):
    """How a run's process has ended; what that means for the run is settled by then."""


class Drained(Exception):
    """The worker was asked to stop, and has nothing left to do."""


class AutoindexWorker(BaseWorker[AutoindexJobConfiguration, BaseVariables, AutoindexWorkerResult]):
    """Forks each run from a warm process, keeps it within its limits, and loses none."""

    type = "autoindex"
    job_configuration = AutoindexJobConfiguration
    _description = "Runs Autoindex's flows, each in a process forked from a warm one."
    _display_name = "Autoindex"
    _documentation_url = ""

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """The pool's template: Prefect's own also offers a command and an environment."""
        return base_job_template()

    def __init__(self, work_pool_name: str, **options: Any) -> None:
        # The command line always passes all three; where nobody chose, ours are better.
        if options.get("limit") is None:
            options["limit"] = LIMIT
        chosen = get_current_settings().worker.model_fields_set
        if "prefetch_seconds" not in chosen:
            options["prefetch_seconds"] = PREFETCH_SECONDS
        if "heartbeat_seconds" not in chosen:
            options["heartbeat_interval_seconds"] = HEARTBEAT_SECONDS
        try:
            self._settings = Settings()
        except ConfigurationError as error:
            raise SystemExit(f"the worker does not start: {error}") from None
        super().__init__(work_pool_name, **options)
        self._runs: dict[UUID, Supervisor] = {}
        self._outages = Outages()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._drained = False
        self._polling = asyncio.Lock()
        self._call = asyncio.Event()

    async def start(
        self,
        run_once: bool = False,
        with_healthcheck: bool = False,
        printer: Callable[..., None] = print,
    ) -> None:
        """Poll for runs until stopped; a first signal drains the worker, a second hurries it."""
        chosen = "query_seconds" in get_current_settings().worker.model_fields_set
        updates = {} if chosen else {PREFECT_WORKER_QUERY_SECONDS: QUERY_SECONDS}
        with temporary_settings(updates):
            try:
                await super().start(run_once, with_healthcheck, printer)
            except* Drained:
                printer(f"Worker {self.name!r} has let its runs end, or handed them back.")

    async def setup(self) -> None:
        """Become warm, and begin to look after runs."""
        os.umask(0o077)  # of the files its runs write, too
        for sentence in misspelt(os.environ):
            self._logger.warning("%s", sentence)
        try:
            with suppress(PartUnavailable):  # the lease manager says so, and retries
                await self._check_database()
        except ConfigurationError as error:
            raise SystemExit(f"the worker does not start: {error}") from None
        self._engine = engines.async_engine(self._settings, "autoindex-worker")
        lifetime = timedelta(seconds=self._settings.lease_seconds)
        self._lease_manager = LeaseManager(
            self._engine, self.name, lifetime, self._outages, self._check_database
        )
        await self._lease_manager.renew_once()  # or Prefect would be told too soon that we are here
        await super().setup()
        self._launcher = Launcher([one.entrypoint for one in read_plan().deployments])
        self._finalizer = Finalizer(self.client, self._lease_manager, self._launcher, self._outages)
        recovery = Recovery(self.client, self._lease_manager, self._finalizer, self._work_pool_name)
        await self._launcher.open()
        self._services: TaskGroup = anyio.create_task_group()
        await self._services.__aenter__()
        for service in (
            self._lease_manager.renew,
            recovery.look,
            self._watch_cancellations,
            self._listen,
            self._answer_calls,
            self._drain,
        ):
            self._services.start_soon(service)
        self._obey_signals()

    async def _check_database(self) -> None:
        await pooler.check(self._settings)

    async def _initialize_after_sync(self) -> None:
        """As soon as Prefect knows this worker, have the notice of absent workers know it, too."""
        if self._work_pool is not None and not self._has_successfully_synced:
            await self._check_owner(self._work_pool.description or "")
        await super()._initialize_after_sync()
        if self._has_successfully_synced:
            await self._say_that_it_is_here()

    async def _check_owner(self, pools: str) -> None:
        """End where the pool's runs use another database."""
        ours = await until_available(self._describe, "the worker waits for the database")
        try:
            pool_owner.check(ours, pools)
        except ConfigurationError as error:
            await self._sign_off()
            raise SystemExit(f"the worker does not start: {error}") from None

    async def _describe(self) -> str:
        return await self._lease_manager.call(pool_owner.description)

    async def teardown(self, *exc_info: Any) -> None:
        """Stop looking after runs; what still runs is ended, and found by another worker."""
        self._services.cancel_scope.cancel()
        await self._services.__aexit__(None, None, None)
        await self._sign_off()
        await super().teardown(*exc_info)
        await self._launcher.close()
        await self._engine.dispose()

    async def _say_that_it_is_here(self) -> None:
        """For the notice that no worker is online; Prefect itself says so once it has heard us."""
        told = events.as_json(events.WORKER_STARTED, events.pool_resource(self.work_pool.id), [])
        try:
            await self.client.request("POST", "/events", json=[told])
        except PrefectError as error:
            self._logger.warning("Prefect was not told that the worker is here: %s", error)

    async def _sign_off(self) -> None:
        """Let nobody count on this worker; where Prefect is away it finds out by itself."""
        pool, worker = quote(self._work_pool_name, safe=""), quote(self.name, safe="")
        path = f"/work_pools/{pool}/workers/{worker}"
        with suppress(PrefectError, TimeoutError), without_client_retries():
            async with asyncio.timeout(_SIGN_OFF_SECONDS):
                await self.client.request("DELETE", path)  # type: ignore[arg-type]

    async def _leave(self) -> None:
        """Beat no more, until it may claim again."""
        if self._worker_channel is not None:
            self._worker_channel.stop()
            self._worker_channel = None
            await self._sign_off()

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        # Not in the main thread, as in a test, signals are somebody else's.
        with suppress(ValueError, RuntimeError):
            for signum in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(signum, self._stop)

    def _stop(self) -> None:
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    async def _drain(self) -> None:
        """Once stopped, let runs end for a while, then hand the rest back."""
        await self._stopping.wait()
        count, seconds = len(self._runs), self._settings.drain_seconds
        self._logger.info("stopping: %d runs have %.0f s to end", count, seconds)
        with anyio.move_on_after(seconds):
            while self._is_busy() and not self._hurry.is_set():
                await asyncio.sleep(0.1)
        while self._is_busy():
            for run in list(self._runs.values()):
                self._services.start_soon(run.stop, ExitCause.HANDED_BACK)
            await asyncio.sleep(0.5)
        self._drained = True

    def _is_busy(self) -> bool:
        return bool(self._runs or self._submitting_flow_run_ids or self.limiter.borrowed_tokens)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Claim what is due, as far as there are slots for it."""
        if self._drained:
            raise Drained
        async with self._polling:
            may_claim = self._lease_manager.trouble is None and not self._stopping.is_set()
            if not may_claim or self.limiter.available_tokens < 1:
                self._last_polled_time = datetime.now(UTC)
                return []
            return await super().get_and_submit_flow_runs()

    async def _sync_and_initialize(self) -> None:
        """As Prefect does, which gives up after some minutes: the next beat is the retry.

        A worker that may claim nothing is not online.
        """
        try:
            if self._lease_manager.trouble is None:
                await super()._sync_and_initialize()
            else:
                await self._leave()
        except PrefectError as error:
            if not self.is_setup or not is_transient(error):
                raise
            self._logger.debug("Prefect does not hear this worker: %s", error)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """As Prefect does; what can't be claimed is claimed at another poll."""
        try:
            await super()._submit_run(flow_run)
        except PrefectError as error:
            self._logger.warning("run %s can't be claimed: %s", flow_run.id, error)
            self._submitting_flow_run_ids.discard(flow_run.id)
            self._release_limit_slot(flow_run.id)

    async def _mark_flow_run_as_cancelled(self, flow_run: FlowRun, *args: Any, **more: Any) -> None:
        """As Prefect does for a run whose deployment is gone, and whose slot it would keep."""
        self._release_limit_slot(flow_run.id)
        await super()._mark_flow_run_as_cancelled(flow_run, *args, **more)

    async def _propose_crashed_state(
        self,
        flow_run: FlowRun,
        message: str,
        client: PrefectClient | None = None,  # noqa: ARG002
    ) -> None:
        """A run that could not be started is tried again, like one whose process died."""
        unheld = f"run {flow_run.id}, which could not be started, waits for the database"
        lease = await until_available(lambda: self._lease_manager.take(flow_run.id), unheld)
        if lease is not None:
            await self._finalizer.finalize(lease, _not_started(message))

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """A fork is there at once: a state before it would only take a call."""

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        try:
            # The next poll is the retry.
            with without_client_retries():
                async with asyncio.timeout(_ANSWER_SECONDS):
                    found = await super()._get_scheduled_flow_runs()
                if len(found) >= _MOST_AT_ONCE:
                    found += await self._of_each_queue()
        except (PrefectError, TimeoutError) as error:
            self._logger.debug("Prefect does not answer: %s", error)
            await asyncio.sleep(_AWAY_SECONDS)
            return []
        # One that was sent round again a moment ago may still have its slot here.
        held = set(self.limiter.statistics().borrowers)
        free = [entry for entry in found if entry.flow_run.id not in held]
        return by_priority(free, datetime.now(UTC))

    async def _of_each_queue(self) -> list[WorkerFlowRunResponse]:
        """The oldest of each queue: the server's answer holds the highest priority's only."""
        queues = await self.client.read_work_queues(work_pool_name=self._work_pool_name)
        names = [queue.name for queue in queues]
        answers = [
            await self.client.get_scheduled_flow_runs_for_work_pool(
                work_pool_name=self._work_pool_name,
                scheduled_before=datetime.now(UTC),
                work_queue_names=[name],
            )
            for name in names
            if not self._work_queues or name in self._work_queues
        ]
        return [entry for answer in answers for entry in answer[:_MOST_AT_ONCE]]

    async def run(
        self,
        flow_run: FlowRun,
        configuration: AutoindexJobConfiguration,
        task_status: "TaskStatus[Any] | None" = None,
    ) -> AutoindexWorkerResult:
        """Run one flow run in a process of its own, and settle how it has ended."""
        status: TaskStatus[Any] = task_status or anyio.TASK_STATUS_IGNORED
        waits = f"run {flow_run.id} waits for the database"
        lease = await until_available(lambda: self._lease_manager.take(flow_run.id), waits)
        if lease is None:
            status.started("elsewhere")
            await self._finalizer.leave(flow_run.id)
            return AutoindexWorkerResult(status_code=0, identifier="elsewhere")
        supervisor = Supervisor(configuration, self._outages)
        self._runs[flow_run.id] = supervisor
        self._lease_manager.keep(lease, supervisor.lose)
        try:
            if await self._finalizer.had_ended(lease):
                status.started("ended")
                return AutoindexWorkerResult(status_code=0, identifier="ended")
            spec = configuration.run_spec(flow_run.id, lease.token)
            try:
                process = await self._launcher.start(spec)
            except OSError as error:
                status.started("not at all")
                await self._finalizer.finalize(lease, _not_started(f"no process for it: {error}"))
                return AutoindexWorkerResult(status_code=0, identifier="not at all")
            status.started(_identifier(process))
            exited = await supervisor.watch(process)
            await self._finalizer.finalize(lease, exited)
        finally:
            supervisor.kill()
            self._lease_manager.drop(lease)
            del self._runs[flow_run.id]
        self._call.set()
        return AutoindexWorkerResult(status_code=0, identifier=_identifier(process))

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: AutoindexJobConfiguration,  # noqa: ARG002
        grace_seconds: int = 30,
    ) -> None:
        """End a run's process; raises where it is another host's, or has ended."""
        host = infrastructure_pid.rpartition(":")[0]
        if host != socket.gethostname():
            raise InfrastructureNotAvailable(f"{infrastructure_pid} is on another host")
        for run in self._runs.values():
            if run.process is not None and _identifier(run.process) == infrastructure_pid:
                await run.stop(ExitCause.CANCELLED, grace_seconds)
                return
        raise InfrastructureNotFound(f"there is no {infrastructure_pid} any more")

    async def _watch_cancellations(self) -> None:
        """End the processes of runs that somebody cancels."""
        while True:
            await asyncio.sleep(_CANCELLING_SECONDS)
            if not self._runs:
                continue
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    cancelling = await self._cancelling()
            except (PrefectError, TimeoutError) as error:
                if is_transient(error):
                    self._outages.failed("Prefect", asked_at)
                else:
                    self._outages.answered("Prefect")
                continue
            self._outages.answered("Prefect")
            for run in cancelling:
                if (supervisor := self._runs.get(run.id)) is not None:
                    self._services.start_soon(supervisor.stop, ExitCause.CANCELLED)

    async def _cancelling(self) -> list[FlowRun]:
        with without_client_retries():
            return await self.client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    id=FlowRunFilterId(any_=list(self._runs)),
                    state=FlowRunFilterState(
                        type=FlowRunFilterStateType(any_=[StateType.CANCELLING])
                    ),
                )
            )

    async def _listen(self) -> None:
        """Take note of each call by PostgreSQL's NOTIFY; where it is away, polls have to do."""
        while True:
            with suppress(PartUnavailable):
                async with aclosing(
                    listening.notifications(self._settings, worker_notify.CHANNEL, "autoindex-wake")
                ) as calls:
                    async for _ in calls:
                        self._call.set()
            await asyncio.sleep(_AWAY_SECONDS)

    async def _answer_calls(self) -> None:
        """Poll at once when called, or when a slot has become free."""
        while True:
            await self._call.wait()
            self._call.clear()
            if not self._has_successfully_synced or self._stopping.is_set():
                continue
            if not await self.get_and_submit_flow_runs() and self.limiter.available_tokens:
                # Called for nothing, as where a pool is paused: a flood of calls is one question.
                await asyncio.sleep(_CALLS_SECONDS)


def _not_started(reason: str) -> Exit:
    return Exit(ExitCause.NOT_STARTED, 0, reason)


def _identifier(process: Process) -> str:
    return f"{socket.gethostname()}:{process.pid}"
