"""Flows as a worker would run them: each in a process of its own, on a real Prefect server."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from anyio.from_thread import start_blocking_portal
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.utilities.importtools import import_object

from autoindex.settings import Settings
from flows.visibility.finished_runs import TAG
from worker import POOL
from worker.launcher import Launcher
from worker.run_spec import RunSpec

# What the tests run, loaded once for all of them, as in a worker.
LOADED = (
    "flows.cleanup.cleanup",
    "flows.compute_index.compute_index",
    "flows.generate_report.generate_report",
    "flows.refresh_market_data.refresh_market_data",
    "tests.flows.leaking.leaking",
)


@dataclass
class Worker:
    """Makes deployments and runs, and runs them."""

    client: SyncPrefectClient
    api_url: str
    settings: Settings
    execute: Callable[[RunSpec], int]
    deployed: list[UUID] = field(default_factory=list)

    def deploy(self, entrypoint: str, name: str, every: timedelta | None = None) -> UUID:
        flow_id = self.client.create_flow(import_object(entrypoint))
        schedules = [DeploymentScheduleCreate(schedule=_schedule(every))] if every else None
        made = self.client.create_deployment(
            flow_id,
            name,
            entrypoint=entrypoint,
            work_pool_name=POOL,
            work_queue_name="default",
            tags=[TAG],
            schedules=schedules,
        )
        self.deployed.append(made)
        return made

    def ask(self, deployment: UUID, **parameters: Any) -> FlowRun:
        return self.client.create_flow_run_from_deployment(deployment, parameters=parameters)

    def scheduled(self, deployment: UUID, since: datetime) -> list[FlowRun]:
        """The first three runs that the schedule asks for from an instant on, oldest first."""
        body = {"start_time": since.isoformat(), "min_runs": 3, "max_runs": 3}
        path = f"/deployments/{deployment}/schedule"
        self.client.request("POST", path, json=body).raise_for_status()  # type: ignore[arg-type]
        runs = self.client.read_flow_runs()
        mine = [run for run in runs if run.deployment_id == deployment]
        # The server's own scheduler may have added later ones meanwhile.
        return sorted(mine, key=lambda run: run.expected_start_time or since)[:3]

    def run(self, run: FlowRun, changed: Mapping[str, str] | None = None) -> FlowRun:
        """Run it to its end; how it ended."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        env = kept | self.settings.environment() | {"PREFECT_API_URL": self.api_url}
        status = self.execute(RunSpec(task_id=run.id, env=env | dict(changed or {})))
        ended = self.client.read_flow_run(run.id)
        assert ended.state is not None
        assert ended.state.is_final(), status
        return ended


def _schedule(every: timedelta) -> IntervalSchedule:
    # Half an interval away from now, wherever a test begins.
    return IntervalSchedule(interval=every, anchor_date=datetime.now(UTC) - every / 2)


@pytest.fixture(scope="session")
def execute() -> Iterator[Callable[[RunSpec], int]]:
    """Executes a run in a fork of a zygote; the exit status."""
    launcher = Launcher(LOADED)

    async def in_a_fork(spec: RunSpec) -> int:
        return await (await launcher.start(spec)).ended

    with start_blocking_portal() as portal:
        yield lambda spec: portal.call(in_a_fork, spec)
        portal.call(launcher.close)


@pytest.fixture
def worker(
    prefect_api: str, settings: Settings, execute: Callable[[RunSpec], int]
) -> Iterator[Worker]:
    with SyncPrefectClient(prefect_api) as client:
        made = Worker(client, prefect_api, settings, execute)
        yield made
        for deployment in made.deployed:  # and with it what it still has to run
            client.delete_deployment(deployment)


class Inbox:
    """What a mail server has taken in."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.refused: str | None = None

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address == self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return "250 OK"


class MailServer(Controller):
    """aiosmtpd's, on a port of the system's choosing."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    made = Inbox()
    controller = MailServer(made, hostname="127.0.0.1", port=0)
    controller.start()
    yield made, controller.port
    controller.stop()
