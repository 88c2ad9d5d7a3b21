"""The worker itself, on Prefect's public worker class.

Registered through the entry point group `prefect.collections`, so that the ordinary
`prefect worker start --pool autoindex --type autoindex` finds it.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import anyio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import ObjectNotFound
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
from flows.attempts.transient_errors import PrefectError, is_login_refused
from worker import presence, priority, proxy_pages
from worker.configuration import AutoindexJobConfiguration, base_job_template
from worker.drain import Drain
from worker.ended_tasks import CancelledTasks
from worker.execution import Executor
from worker.launcher import Launcher
from worker.lease_manager import LeaseManager
from worker.outages import Outages, until_available, without_client_retries
from worker.prefect_yaml import read_prefect_yaml
from worker.recovery import Recovery
from worker.scheduled_names import ScheduledNames
from worker.webhooks import Webhooks

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

# Prefect's own defaults are no limit, a poll every 10 s, and claiming runs 10 s before they are
# due, which lets a run of low priority hold a slot while it waits for its time. The facade wakes
# the worker by NOTIFY; a poll, which costs Prefect 50 ms of CPU, finds what the UI, the command
# line, schedules and retries make due. A worker counts as online until it has missed three
# heartbeats, of which there is one every 30 s.
LIMIT: Final = 4
QUERY_SECONDS: Final = 2.0
PREFETCH_SECONDS: Final = 0.0
HEARTBEAT_SECONDS: Final = 10
_RETRY_SECONDS: Final = 1.0
# The runs that a later answer names may have been claimed, and have ended, meanwhile.
_ANSWER_SECONDS: Final = 20.0
_WAKE_PAUSE_SECONDS: Final = 0.05
_LOGIN_REFUSED: Final = "Prefect refuses its password, see PREFECT_API_AUTH_STRING"


class AutoindexWorkerResult(BaseWorkerResult):
    """How a run's process has ended; its run is finalized by then."""


class Drained(Exception):
    """The worker was asked to stop, and has no run left."""


class AutoindexWorker(BaseWorker[AutoindexJobConfiguration, BaseVariables, AutoindexWorkerResult]):
    """Forks each run from a warm process, keeps it within its limits, and loses none."""

    type = "autoindex"
    job_configuration = AutoindexJobConfiguration

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """The pool's template: Prefect's own also offers a command and an environment."""
        return base_job_template()

    def __init__(self, work_pool_name: str, **options: Any) -> None:
        # The command line always passes them: without a choice of the user, ours apply.
        if options.get("limit") is None:
            options["limit"] = LIMIT
        if options.get("name") is None:
            options["name"] = f"{socket.gethostname()}:{os.getpid()}"
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
        self._drain = Drain(self._settings.drain_seconds)
        self._owns_pool = False
        self._pool_id: UUID | None = None
        self._polling = asyncio.Lock()
        self._wake = asyncio.Event()

    async def start(
        self,
        run_once: bool = False,
        with_healthcheck: bool = False,
        printer: Callable[..., None] = print,
    ) -> None:
        """Poll for runs until stopped: by one signal gently, by a second at once."""

        def say(*words: Any) -> None:
            with suppress(OSError):  # the disk of its log is full
                printer(*words)

        chosen = "query_seconds" in get_current_settings().worker.model_fields_set
        updates = {} if chosen else {PREFECT_WORKER_QUERY_SECONDS: QUERY_SECONDS}
        with temporary_settings(updates):
            try:
                await super().start(run_once, with_healthcheck, say)
            except* Drained:
                say(f"Worker {self.name!r} has finished its runs, or handed them back.")

    async def setup(self) -> None:
        """Load the flows, connect, and start the services."""
        os.umask(0o077)  # of the files its runs write, too
        for sentence in misspelt(os.environ):
            self._logger.warning("%s", sentence)
        try:
            with suppress(PartUnavailable):  # the lease manager says so, and retries
                await self._check_database()
        except ConfigurationError as error:
            raise SystemExit(f"the worker does not start: {error}") from None
        self._engine = engines.async_engine(self._settings, "autoindex-worker")
        lifetime, outages = timedelta(seconds=self._settings.lease_seconds), Outages()
        self._lease_manager = LeaseManager(
            self._engine, self.name, lifetime, outages, self._check_database
        )
        # Before Prefect sees it online.
        await self._lease_manager.renew_once()
        await super().setup()
        self._launcher = Launcher([one.entrypoint for one in read_prefect_yaml().deployments])
        await self._launcher.open()
        self._executor = Executor(self.client, self._lease_manager, self._launcher, outages)
        await self._start_services()
        self._drain.handle_signals()

    async def _start_services(self) -> None:
        self._services: TaskGroup = anyio.create_task_group()
        await self._services.__aenter__()
        recovery = Recovery(
            self.client, self._lease_manager, self._executor.finalizer, self._work_pool_name
        )
        for service in (
            self._lease_manager.renew,
            recovery.run,
            ScheduledNames(self.client, self._work_pool_name).run,
            CancelledTasks(self.client, self._lease_manager.call).run,
            Webhooks(self._settings, self._lease_manager.call).run,
            self._listen,
            self._poll_on_wake,
        ):
            self._services.start_soon(service)
        self._services.start_soon(self._executor.watch_cancellations, self._services)
        self._services.start_soon(self._drain.run, self._executor, self._is_busy, self._services)

    async def _check_database(self) -> None:
        await pooler.check(self._settings)

    async def sync_with_backend(self) -> None:
        """Send a heartbeat to Prefect, which gives up after some failures: the next one is a retry.

        While the server is restarted a proxy may answer 404 or 429. A worker that may claim nothing
        goes offline.
        """
        proxy_pages.refuse(self.client)
        try:
            if self._lease_manager.trouble is not None:
                await self._go_offline()
                return
            await super().sync_with_backend()
            if self._work_pool is not None:
                self._check_pool(self._work_pool.id)
                await self._check_owner(self._work_pool.description or "")
                await presence.announce(self.client, self._work_pool.id)
        except (PrefectError, ObjectNotFound) as error:
            if is_login_refused(error):
                raise SystemExit(f"the worker ends: {_LOGIN_REFUSED}") from None
            if not self.is_setup:
                raise
            self._logger.debug("Prefect does not take a heartbeat: %s", error)

    async def _go_offline(self) -> None:
        if self._worker_channel is not None:
            self._worker_channel.stop()
            self._worker_channel = None
            await self._sign_off()

    def _check_pool(self, pool_id: UUID) -> None:
        """Say that the pool was deleted: Prefect's worker makes another, without queues."""
        if self._pool_id not in (None, pool_id):
            self._logger.error(
                "the work pool %s was deleted: run `autoindex bootstrap`", self._work_pool_name
            )
            self._owns_pool = False
        self._pool_id = pool_id

    async def _check_owner(self, pools: str) -> None:
        """Allow claims, or end if the pool's runs use another database."""
        if self._owns_pool:
            return
        ours = await until_available(
            lambda: self._lease_manager.call(pool_owner.description),
            "the worker waits for the database",
        )
        try:
            pool_owner.check(ours, pools)
        except ConfigurationError as error:
            await self._sign_off()
            raise SystemExit(f"the worker does not start: {error}") from None
        self._owns_pool = True

    async def teardown(self, *exc_info: Any) -> None:
        """Stop the services and what still runs; another worker continues it."""
        self._services.cancel_scope.cancel()
        await self._services.__aexit__(None, None, None)
        await self._sign_off()
        await super().teardown(*exc_info)
        await self._launcher.close()
        await self._engine.dispose()

    async def _sign_off(self) -> None:
        await presence.sign_off(self.client, self._work_pool_name, self.name)

    def _is_busy(self) -> bool:
        return self.limiter.borrowed_tokens > 0

    def _may_claim(self) -> bool:
        is_allowed = self._owns_pool and self._lease_manager.trouble is None
        return is_allowed and not self._drain.has_begun and self.limiter.available_tokens >= 1

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Claim due runs, as long as there are slots."""
        if self._drain.is_done:
            raise Drained
        async with self._polling:
            return await super().get_and_submit_flow_runs()

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """As Prefect does; a run that can't be claimed is claimed by a later poll."""
        try:
            await super()._submit_run(flow_run)
        except PrefectError as error:
            self._logger.warning("run %s can't be claimed: %s", flow_run.id, error)
            self._submitting_flow_run_ids.discard(flow_run.id)
        finally:
            # Prefect keeps the slot of a run without a deployment.
            if flow_run.id not in self._executor.runs:
                self._release_limit_slot(flow_run.id)

    async def _propose_crashed_state(
        self,
        flow_run: FlowRun,
        message: str,
        client: PrefectClient | None = None,  # noqa: ARG002
    ) -> None:
        await self._executor.fail_start(flow_run.id, message)

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """A fork takes no time: a state before it would only cost a request."""

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        if not self._may_claim():
            return []
        try:
            # The next poll is the retry.
            with without_client_retries():
                async with asyncio.timeout(_ANSWER_SECONDS):
                    found = await super()._get_scheduled_flow_runs()
                if len(found) >= priority.PAGE:
                    found += await priority.oldest_of_each_queue(
                        self.client, self._work_pool_name, self._work_queues
                    )
        except (PrefectError, ObjectNotFound, TimeoutError) as error:
            self._logger.debug("Prefect does not answer: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
            return []
        return priority.by_priority(found, datetime.now(UTC))

    async def run(
        self,
        flow_run: FlowRun,
        configuration: AutoindexJobConfiguration,
        task_status: "TaskStatus[Any] | None" = None,
    ) -> AutoindexWorkerResult:
        """Execute one flow run, and finalize it."""
        status: TaskStatus[Any] = task_status or anyio.TASK_STATUS_IGNORED
        identifier = await self._executor.execute(flow_run.id, configuration, status.started)
        self._wake.set()
        return AutoindexWorkerResult(status_code=0, identifier=identifier)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: AutoindexJobConfiguration,  # noqa: ARG002
        grace_seconds: int = 30,
    ) -> None:
        """Stop a run's process; raises where it is another host's, or has ended."""
        await self._executor.stop(infrastructure_pid, grace_seconds)

    async def _listen(self) -> None:
        """Wake by PostgreSQL's NOTIFY; while it is unavailable, the polls find the runs."""
        while True:
            with suppress(PartUnavailable):
                async with aclosing(
                    listening.notifications(self._settings, worker_notify.CHANNEL, "autoindex-wake")
                ) as notifications:
                    async for _ in notifications:
                        self._wake.set()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _poll_on_wake(self) -> None:
        """Poll at once after a notification, or when a slot is free again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._may_claim():
                continue
            if not await self.get_and_submit_flow_runs() and self.limiter.available_tokens:
                # Nothing was due, as in a paused pool: many notifications are one poll.
                await asyncio.sleep(_WAKE_PAUSE_SECONDS)
