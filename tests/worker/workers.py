"""Workers as an operator starts them, on a pool and a database of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.states import Cancelling
from prefect.utilities.importtools import import_object

from autoindex.settings import Settings
from tests.bounds import HANG_SECONDS
from tests.relay import Relay, to_database
from worker.autoindex_worker import AutoindexWorker
from worker.parent_death import die_with_parent
from worker.prefect_yaml import PROJECT

_WORKER = ("-m", "prefect", "worker", "start", "--type", AutoindexWorker.type)
FLOWS = "tests.worker.worker_flows"
# Each question costs the server 20 ms of CPU, and most are followed by the next.
_POLL_SECONDS = 0.2


@dataclass
class Started:
    """One worker's process."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text()

    def family(self) -> list[psutil.Process]:
        """The worker, its zygote and that one's guard, and its runs."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def guard(self) -> psutil.Process:
        (found,) = psutil.Process(self.process.pid).children()
        return found

    def zygote(self) -> psutil.Process:
        (found,) = self.guard().children()
        return found

    def end(self) -> None:
        for one in self.family() if self.process.poll() is None else ():
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(HANG_SECONDS)


@dataclass
class Yard:
    """A pool, its workers and its runs."""

    client: SyncPrefectClient
    api_url: str
    settings: Settings
    folder: Path
    pool: str
    python: str | Path = sys.executable
    started: list[Started] = field(default_factory=list)

    def start(
        self, name: str = "one", *words: str, limit: int | None = None, **changed: str
    ) -> Started:
        one = self.spawn(name, *words, limit=limit, **changed)
        self.until(lambda: "started!" in one.text, what=one.text)
        return one

    def spawn(self, name: str, *words: str, limit: int | None = None, **changed: str) -> Started:
        """As `start`, for one that may not start at all."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AUTOINDEX_"))}
        env = kept | self.settings.environment() | {"PREFECT_API_URL": self.api_url} | changed
        chosen = [] if limit is None else ["--limit", str(limit)]
        log = self.folder / f"{name}-{len(self.started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(self.python), *_WORKER, "--pool", self.pool, "--name", name, *chosen, *words],
                cwd=PROJECT,
                env=env,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Also where the tests are killed.
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - see die_with_parent
            )
        one = Started(name, process, log)
        self.started.append(one)
        return one

    @contextmanager
    def afar(self, **changed: str) -> Iterator[tuple[Started, list[Relay]]]:
        """A worker on a host of its own, as far as the network is concerned, and its cables."""
        api = httpx.URL(self.api_url)
        database, there = to_database(self.settings.database())
        with database, Relay((api.host, api.port or 80)) as to_prefect:
            worker = self.start(
                "afar",
                AUTOINDEX_DATABASE_URL=there,
                PREFECT_API_URL=str(api.copy_with(port=to_prefect.port)),
                **changed,
            )
            yield worker, [database, to_prefect]

    def end_all(self) -> None:
        for one in self.started:
            one.end()

    def queue(self, name: str, priority: int) -> None:
        self.client.create_work_queue(name, work_pool_name=self.pool, priority=priority)

    def note(self, name: str) -> str:
        return str(self.folder / name)

    def post(
        self,
        flow: str,
        job: dict[str, Any] | None = None,
        queue: str | None = None,
        **parameters: Any,
    ) -> UUID:
        """Ask for a run of one of the test flows."""
        entrypoint = f"{FLOWS}.{flow}"
        flow_id = self.client.create_flow(import_object(entrypoint))
        deployment = self.client.create_deployment(
            flow_id,
            f"{self.pool}-{queue}",
            entrypoint=entrypoint,
            work_pool_name=self.pool,
            work_queue_name=queue,
        )
        run = self.client.create_flow_run_from_deployment(
            deployment, parameters=parameters, job_variables=job or {}
        )
        return run.id

    def online(self) -> list[str]:
        """Names of the pool's workers that Prefect takes for online."""
        workers = self.client.read_workers_for_work_pool(self.pool)
        return [one.name for one in workers if one.status is WorkerStatus.ONLINE]

    def read(self, run_id: UUID) -> FlowRun:
        return self.client.read_flow_run(run_id)

    def states(self, run_id: UUID) -> list[str]:
        return [str(state.name) for state in self.client.read_flow_run_states(run_id)]

    def cancel(self, run_id: UUID) -> None:
        self.client.set_flow_run_state(run_id, Cancelling())

    def until_state(self, run_id: UUID, *names: str) -> FlowRun:
        def there() -> bool:
            return self.read(run_id).state_name in names

        self.until(there, what=f"{names}; it is {self.read(run_id).state}")
        return self.read(run_id)

    def until(self, happened: Callable[[], Any], what: str = "this") -> None:
        deadline = time.monotonic() + HANG_SECONDS
        while not happened():
            logs = "\n".join(one.text for one in self.started)
            assert time.monotonic() < deadline, f"in vain waited for {what}\n{logs}"
            time.sleep(_POLL_SECONDS)


@contextmanager
def yard(api_url: str, settings: Settings, folder: Path, pool: str) -> Iterator[Yard]:
    """A pool of our type, whose workers are ended at the end."""
    with SyncPrefectClient(api_url) as client:
        template = AutoindexWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(name=pool, type=AutoindexWorker.type, base_job_template=template)
        )
        made = Yard(client, api_url, settings, folder, pool)
        try:
            yield made
        finally:
            made.end_all()


def alive(pids: Sequence[int]) -> list[int]:
    """Which of these processes are there, and not only waited for."""
    return [pid for pid in pids if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
