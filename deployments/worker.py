"""The worker type `autoindex`: Prefect's process worker with start-up and polling made short.

Registered through the entry point group `prefect.collections`, so that the ordinary
`prefect worker start --pool autoindex` finds it.
"""

import os
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.settings import PREFECT_WORKER_QUERY_SECONDS, get_current_settings, temporary_settings
from prefect.utilities.processutils import get_sys_executable
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from deployments.engine import WORKER_PID

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse

POOL: Final = "autoindex"
# Prefect's own defaults are no limit, a poll every 10 s, and claiming runs 10 s before they are
# due, which lets a run of low priority hold a slot while it waits for its time.
LIMIT: Final = 4
QUERY_SECONDS: Final = 0.5
PREFETCH_SECONDS: Final = 0.0


class AutoindexJobConfiguration(ProcessJobConfiguration):
    """How one run is started: Prefect's engine at once, in a process that dies with the worker."""

    def prepare_for_flow_run(
        self,
        flow_run: "FlowRun",
        deployment: "DeploymentResponse | None" = None,
        flow: "Flow | None" = None,
        work_pool: "WorkPool | None" = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Fill in the command and the environment of one run."""
        if self.command is None:
            self.command = f"{shlex.quote(get_sys_executable())} -m deployments.engine"
        self.env[WORKER_PID] = str(os.getpid())
        super().prepare_for_flow_run(
            flow_run, deployment, flow, work_pool, worker_name, worker_id=worker_id
        )


class AutoindexWorker(ProcessWorker):
    """Runs each flow run in a process of its own, started without a pull step."""

    type = "autoindex"
    job_configuration = AutoindexJobConfiguration
    _description = "Runs Autoindex's flows, each in a process of its own."
    _display_name = "Autoindex"
    _documentation_url = ""

    def __init__(self, work_pool_name: str, **options: Any) -> None:
        # The command line always passes both; where nobody chose, ours are better.
        if options.get("limit") is None:
            options["limit"] = LIMIT
        if "prefetch_seconds" not in get_current_settings().worker.model_fields_set:
            options["prefetch_seconds"] = PREFETCH_SECONDS
        super().__init__(work_pool_name, **options)

    async def start(
        self,
        run_once: bool = False,
        with_healthcheck: bool = False,
        printer: Callable[..., None] = print,
    ) -> None:
        """Poll for runs until stopped."""
        chosen = "query_seconds" in get_current_settings().worker.model_fields_set
        updates = {} if chosen else {PREFECT_WORKER_QUERY_SECONDS: QUERY_SECONDS}
        with temporary_settings(updates):
            await super().start(run_once, with_healthcheck, printer)
