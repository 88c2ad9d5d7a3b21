"""How fast the facade is, beside the same call made directly to Prefect's API.

    python -m benchmarks.facade

Runs the whole local stack on its own ports, with the work pool paused so that what is started stays
queued. Each pair of calls is made in turn, on kept connections, so that both meet the same machine.
The load comes from a second process: 200 clients for 30 seconds, then 100,000 requests.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import httpx
import psutil
from rich.console import Console

from api.auth import tokens
from autoindex.settings import Settings
from autoindex.storage.postgres import engines
from autoindex.storage.runs import results
from benchmarks import refusals, table
from benchmarks.ports import free_ports
from benchmarks.table import Ratio
from deployments.local import stack
from deployments.local.console import Progress
from deployments.local.stack import Stack

TASKS = "/api/v1/background"
SCOPES = ["tasks:read", "tasks:run"]
PAIRS, WARM_UP, PAUSE_SECONDS = 60, 10, 0.05
CLIENTS, SECONDS = 200, 30
# A user's requests wait for one another: clients are people's, not one person's.
USERS = 50
# For longer than the minute in which each user's requests are remembered, to be counted.
REQUESTS, WARM_UP_REQUESTS = 100_000, 100_000
LONGEST_SECONDS = 600
# Memory counts as flat where it grows by less than this share.
FLAT = 1.05


class Bench:
    """The stack, and clients of the facade and of Prefect."""

    def __init__(self, running: Stack) -> None:
        self.settings = running.settings
        self.url = running.api_url
        self.tokens = [
            tokens.mint(running.settings, f"user-{n}", SCOPES, timedelta(hours=2))
            for n in range(USERS)
        ]
        headers = {"Authorization": f"Bearer {self.tokens[0]}"}
        self.facade = httpx.Client(
            base_url=running.api_url, headers=headers, timeout=30, trust_env=False
        )
        url = f"{running.prefect_url}/api/"
        user, _, password = running.prefect_login.partition(":")
        self.prefect = httpx.Client(
            base_url=url, auth=(user, password), timeout=30, trust_env=False
        )
        ours = next(child for child in running.children if child.name == "Facade")
        self.process = psutil.Process(ours.process.pid)
        found = self._prefect("GET", "deployments/name/compute-index/compute")
        self.deployment = found["id"]
        self._days = 0

    def _prefect(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.prefect.request(method, path, json=body).raise_for_status()
        return answer.json() if answer.content else None

    def pause(self) -> None:
        """Leave in the queue what is started."""
        self._prefect("PATCH", "work_pools/autoindex", {"is_paused": True})

    def body(self) -> dict[str, str]:
        """A computation that nobody has asked for yet."""
        self._days += 1
        return {"start_date": (date(1990, 1, 2) + timedelta(days=self._days)).isoformat()}

    def start(self) -> str:
        """Start a task through the facade."""
        answer = self.facade.post(f"{TASKS}/compute-index", json=self.body()).raise_for_status()
        return str(answer.json()["task_id"])

    def start_directly(self) -> None:
        """The same, asked of Prefect."""
        asked = {"parameters": self.body(), "tags": ["autoindex", "compute", "user:bench"]}
        self._prefect("POST", f"deployments/{self.deployment}/create_flow_run", asked)

    def move(self, task_id: str, state: str) -> str:
        """Put a run into a state, as a worker would; a result is stored with success."""
        if state == "COMPLETED":
            engine = engines.engine(self.settings)
            with engine.begin() as connection:
                now, day = datetime.now(UTC), timedelta(days=1)
                results.store(connection, UUID(task_id), "compute", {"level": 100.0}, now, day)
            engine.dispose()
        state_of = {"state": {"type": state}, "force": True}
        self._prefect("POST", f"flow_runs/{task_id}/set_state", state_of)
        return task_id

    def status(self, task_id: str) -> None:
        """Ask the facade."""
        self.facade.get(f"{TASKS}/status/{task_id}").raise_for_status()

    def status_directly(self, task_id: str) -> None:
        """Ask Prefect."""
        self._prefect("GET", f"flow_runs/{task_id}")

    def load(self, **asked: Any) -> dict[str, Any]:
        """Send load from a second process; what it has seen."""
        whole = {"url": self.url, "tokens": self.tokens, "clients": CLIENTS, **asked}
        command = [sys.executable, "-m", "benchmarks.load", json.dumps(whole)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return dict(json.loads(done.stdout))

    @property
    def resident_mb(self) -> float:
        """The facade's memory."""
        return float(self.process.memory_info().rss) / 2**20


def ratios() -> Iterator[Ratio]:
    """Every figure beside its reference."""
    with started() as bench:
        # What a start leaves to be done, as the worker's waking, must not fall on the other.
        start = (bench.start, bench.start_directly)
        yield paired("facade: POST", *start, at_most=1.2, pause_seconds=PAUSE_SECONDS)
        tasks = {
            "pending": bench.start(),
            "running": bench.move(bench.start(), "RUNNING"),
            "finished": bench.move(bench.start(), "COMPLETED"),
        }
        for name, task_id in tasks.items():
            yield paired(
                f"facade: /status, {name}",
                lambda task_id=task_id: bench.status(task_id),  # type: ignore[misc]
                lambda task_id=task_id: bench.status_directly(task_id),  # type: ignore[misc]
                at_most=0.25 if name == "finished" else 1.5,
            )
        known = [bench.start() for _ in range(40)]
        for number, task_id in enumerate(known):
            if number % 4:
                bench.move(task_id, "COMPLETED" if number % 4 < 3 else "RUNNING")
        yield from refused(bench)
        yield from loaded(bench, known)
        yield memory(bench, known)


def paired(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    at_most: float,
    pause_seconds: float = 0.0,
) -> Ratio:
    """Medians of two calls made in turn, with a pause after each."""
    took: dict[str, list[float]] = {"ours": [], "theirs": []}
    for round_ in range(WARM_UP + PAIRS):
        for name, call in (("ours", ours), ("theirs", theirs)):
            began = time.perf_counter()
            call()
            if round_ >= WARM_UP:
                took[name].append(time.perf_counter() - began)
            time.sleep(pause_seconds)
    middle = {name: median(seconds) for name, seconds in took.items()}
    return Ratio(what, middle["ours"], middle["theirs"], "Prefect itself", at_most=at_most)


def refused(bench: Bench) -> Iterator[Ratio]:
    """The facade's processor time, each beside a start's."""
    before = bench.process.cpu_times()
    for _ in range(refusals.REQUESTS):
        bench.start()
    after = bench.process.cpu_times()
    took = after.user + after.system - before.user - before.system
    yield from refusals.ratios(bench.process, bench.url, bench.tokens[0], took / refusals.REQUESTS)


def loaded(bench: Bench, tasks: list[str]) -> Iterator[Ratio]:
    """200 clients, 90 % reads."""
    seen = bench.load(tasks=tasks, seconds=SECONDS)
    every = [one for kind in seen["latencies"].values() for one in kind]
    for kind, latencies in seen["latencies"].items():
        cuts = quantiles(latencies, n=100)
        table.say(f"    {kind}: {len(latencies)}, p50 {cuts[49]:.3f} s, p99 {cuts[98]:.3f} s")
    for error in sorted(set(seen["errors"])):
        table.say(f"    {seen['errors'].count(error)} times {error}")
    cuts = quantiles(every, n=100)
    what = f"facade: {CLIENTS} clients, {SECONDS} s"
    yield Ratio(f"{what}, p99", cuts[98], cuts[49], "p50", at_most=5)
    errors, sent = float(len(seen["errors"])), float(seen["sent"])
    yield Ratio(f"{what}, errors", errors, sent, "requests", unit="requests", at_most=0)


def memory(bench: Bench, tasks: list[str]) -> Ratio:
    """Resident memory after 100,000 more requests, or as many as ten minutes allow."""
    reads = {"tasks": tasks, "starts": 0, "clients": 50, "seconds": LONGEST_SECONDS}
    bench.load(requests=WARM_UP_REQUESTS, **reads)
    before = bench.resident_mb
    sent = bench.load(requests=REQUESTS, **reads)["sent"]
    what = f"facade: memory, {sent:,} requests later"
    return Ratio(what, bench.resident_mb, before, "before", unit="MB", at_most=FLAT)


@contextmanager
def started() -> Iterator[Bench]:
    """A whole stack in a folder of its own, gone afterwards."""
    with TemporaryDirectory() as folder:
        api, prefect, sandbox = free_ports(3)
        settings = Settings(
            data_dir=Path(folder) / "var",
            api_port=api,
            prefect_port=prefect,
            sandbox_port=sandbox,
            requests_per_minute=1_000_000,
            tasks_per_minute=1_000_000,
            queued_tasks_per_kind=1_000_000,
        )
        with stack.running(settings, Progress(Console(file=StringIO()))) as running:
            bench = Bench(running)
            bench.pause()
            yield bench


if __name__ == "__main__":
    sys.exit(table.main(ratios))
