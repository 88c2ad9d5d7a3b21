"""Our worker beside Prefect's process worker: the same flow, server and number of slots."""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from rich.console import Console
from sqlalchemy import create_engine

from autoindex.settings import Settings
from autoindex.storage.runs import worker_notify
from benchmarks import worker_flow
from benchmarks.ports import free_ports
from benchmarks.table import Ratio, main, say
from deployments import prefect_server
from deployments.local import stack
from deployments.local.child import Child
from deployments.local.console import Progress
from deployments.local.stack import Stack
from worker import POOL
from worker.prefect_yaml import PROJECT

LIMIT: Final = 4
STARTS: Final = 20
BURST: Final = {POOL: 100, "stock": 20}
_STOCK: Final = (
    *(sys.executable, "-m", "prefect", "worker", "start"),
    *("--pool", "stock", "--type", "process"),
)
_WAITING: Final = 4
_READY_SECONDS: Final = 120.0
_END_SECONDS: Final = 600.0
_MB: Final = 1 << 20


@dataclass
class Bench:
    """A running stack, a second pool of Prefect's own type, and a deployment for each."""

    made: Stack
    client: SyncPrefectClient

    def __post_init__(self) -> None:
        self._engine = create_engine(self.made.settings.database())
        self.client.create_work_pool(WorkPoolCreate(name="stock", type="process"))
        self._deployments = {
            (pool, flow.name): self.client.create_deployment(
                self.client.create_flow(flow),
                f"{flow.name}-{pool}",
                entrypoint=f"benchmarks.worker_flow.{flow.name}",
                work_pool_name=pool,
            )
            for pool in BURST
            for flow in (worker_flow.nothing, worker_flow.wait)
        }

    def ask(self, pool: str, flow: str = "nothing", **parameters: float) -> UUID:
        """Ask for a run, as the facade does."""
        run = self.client.create_flow_run_from_deployment(
            self._deployments[pool, flow], parameters=parameters
        )
        if pool == POOL:
            with self._engine.begin() as connection:
                worker_notify.notify(connection)
        return run.id

    def ended(self, run_id: UUID) -> FlowRun:
        """The run, once it has ended."""
        deadline = time.monotonic() + _END_SECONDS
        while True:
            run = self.client.read_flow_run(run_id)
            if run.state is not None and run.state.is_final():
                if not run.state.is_completed():
                    raise SystemExit(f"a run has failed: {run.state}")
                return run
            if time.monotonic() > deadline:
                raise SystemExit(f"a run did not end: {run.state}")
            time.sleep(0.1)

    def seconds_to_running(self, pool: str) -> float:
        """From the request to the run's own first state."""
        asked = time.time()
        started = self.ended(self.ask(pool)).start_time
        if started is None:
            raise SystemExit("a run never began")
        return started.timestamp() - asked

    def seconds_a_run(self, pool: str) -> float:
        """Many asked for at once, until the last has ended."""
        began = time.time()
        runs = [self.ended(one) for one in [self.ask(pool) for _ in range(BURST[pool])]]
        last = max(run.end_time.timestamp() for run in runs if run.end_time)
        return (last - began) / len(runs)

    def own_mb(self, worker: psutil.Process) -> float:
        """Memory that one more run takes."""
        runs = [self.ask(POOL, "wait", seconds=8.0) for _ in range(_WAITING)]
        (guard,) = worker.children()
        (zygote,) = guard.children()
        while len(forks := zygote.children()) < _WAITING:
            time.sleep(0.1)
        time.sleep(4)  # until each has begun
        used = [fork.memory_full_info().uss / _MB for fork in forks]
        for run in runs:
            self.ended(run)
        return statistics.median(used)


def ratios() -> Iterator[Ratio]:
    """Start, throughput and memory."""
    with _bench() as bench:
        (ours,) = [child for child in bench.made.children if child.name == "Worker"]
        starts, a_run = {}, {}
        with _stock_worker(bench):
            for pool in BURST:
                bench.seconds_to_running(pool)  # the first one of each is for warmth
            # Turn by turn, so that both meet the machine as it is.
            taken = [{p: bench.seconds_to_running(p) for p in BURST} for _ in range(STARTS)]
            starts = {pool: statistics.median(one[pool] for one in taken) for pool in BURST}
            say(f"POST to Running, median of {STARTS}: {starts}")
            a_run = {pool: bench.seconds_a_run(pool) for pool in BURST}
        memory = bench.own_mb(psutil.Process(ours.pid))
    against = "Prefect's process worker"
    yield Ratio(
        "worker: POST to Running, median", starts[POOL], starts["stock"], against, at_most=1 / 8
    )
    yield Ratio(
        f"worker: seconds a short run, {LIMIT} at a time",
        a_run[POOL],
        a_run["stock"],
        against,
        at_most=1 / 6,
    )
    yield Ratio("worker: own memory of one more run", memory, 60.0, "the limit", "MB", at_most=1.0)


@contextmanager
def _bench() -> Iterator[Bench]:
    with TemporaryDirectory() as folder:
        api, prefect, sandbox = free_ports(3)
        settings = Settings(
            data_dir=Path(folder).resolve(),
            api_port=api,
            prefect_port=prefect,
            sandbox_port=sandbox,
        )
        with stack.running(settings, Progress(Console())) as made:
            url = made.env["PREFECT_API_URL"]
            told = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: made.prefect_login}
            with temporary_settings(told), prefect_server.client(url) as client:
                yield Bench(made, client)


@contextmanager
def _stock_worker(bench: Bench) -> Iterator[None]:
    """Prefect's own, polling twice a second and claiming nothing early."""
    chosen = {
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "PREFECT_WORKER_PREFETCH_SECONDS": "0",
    }
    worker = Child(
        "Prefect's worker",
        [*_STOCK, "--limit", str(LIMIT)],
        log=bench.made.settings.data_dir / "stock.log",
        cwd=PROJECT,
        env=bench.made.env | chosen,
    )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while "started!" not in worker.log.read_text():
            worker.check_alive()
            if time.monotonic() > deadline:
                raise SystemExit(f"Prefect's worker did not start:\n{worker.log.read_text()}")
            time.sleep(0.1)
        yield
    finally:
        worker.stop()  # within a bound: it has been seen to ignore SIGTERM


if __name__ == "__main__":
    sys.exit(main(ratios))
