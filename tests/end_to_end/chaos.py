"""Kill, stop and disturb a running stack while tasks run; then ask whether anything is lost.

    python -m tests.end_to_end.chaos [--tasks 200] [--every 4] [--seed 1]

First the tasks run without a fault, and leave the data that they have to leave again; then they run
in a storm: every few seconds a random fault. At the end each accepted task has ended in exactly one
state, the data and the report files are those as before, and no process is left over.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import psutil
from rich.console import Console
from sqlalchemy import Engine, create_engine, text

from benchmarks.table import say
from deployments import stack as local_stack
from deployments import universe
from deployments.child import Child
from deployments.progress import Progress
from deployments.stack import Stack
from deployments.worker import POOL
from tests.end_to_end.conftest import (
    EVERYTHING,
    App,
    fresh_settings,
    pause_schedules,
    prefect_client,
)
from tests.relay import Relay, to_database

ENDED: Final = ("success", "failure", "revoked")
FINAL: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
RAN: Final = FINAL | {"RUNNING"}
# What tasks leave behind, in an order of its own; not when, nor by which task.
DATA: Final = {
    "prices": "select * from prices order by asset_id, session",
    "index_levels": "select * from index_levels order by strategy, frequency, session",
    "allocations": "select * from allocations order by strategy, frequency, session, asset_id",
    "metrics": "select * from metrics order by strategy, frequency, session",
}
_SETTLE_SECONDS: Final = 420.0
_WORKER: Final = ("prefect", "worker", "start", "--pool", POOL)


def tasks(number: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Tasks of every kind that changes something or makes something, over and over."""
    symbols = ("AAPL", "KO", "XOM", "JPM", "GE")
    strategies = ("equal_weight", "momentum", "market_cap", "inverse_volatility")
    for one in range(number):
        match one % 4:
            case 0:
                named = [symbols[one // 4 % 5], symbols[(one // 4 + 2) % 5]]
                yield "refresh", {"mode": "full", "force": True, "symbols": named}
            case 1 | 3:
                strategy = strategies[one // 2 % 4]
                # Quarterly, which nothing else that shares the stack computes.
                index = {"strategy": strategy, "frequency": "quarterly"}
                yield "compute-index", index | {"start_date": "2015-01-02"}
            case _:
                kind = ("json", "excel", "pdf")[one // 4 % 3]
                yield "generate-report", {"report_type": "monthly", "format": kind}


def digest(engine: Engine) -> dict[str, str]:
    """A checksum of each table's rows."""
    found = {}
    with engine.connect() as connection:
        for name, query in DATA.items():
            rows = hashlib.sha256()
            for row in connection.execution_options(yield_per=10_000).execute(text(query)):
                rows.update(repr(tuple(row)).encode())
            found[name] = rows.hexdigest()[:16]
    return found


@dataclass
class Storm:
    """A stack with two workers, the tasks it was asked for, and the faults it has seen."""

    stack: Stack
    app: App
    random: random.Random
    accepted: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    crew: list[Child] = field(default_factory=list)
    stopped: list[tuple[float, psutil.Process]] = field(default_factory=list)
    loops: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    afar: Child | None = None
    cables: list[Relay] = field(default_factory=list)
    _cut_until: float = 0.0
    _database_afar: str = ""
    _names: Iterator[int] = field(default_factory=lambda: count(2))

    def __post_init__(self) -> None:
        settings = self.stack.settings
        database, self._database_afar = to_database(settings.database())
        self.cables = [database, Relay(("127.0.0.1", settings.prefect_port))]
        self.crew = [child for child in self.stack.children if child.name == "Worker"]
        self.hire()

    def hire(self) -> None:
        """Start one more worker."""
        name = f"Worker {next(self._names)}"
        self.crew.append(self.stack.start(name, *_WORKER))

    def hire_afar(self) -> None:
        """Start a worker on a host of its own, as far as the network is concerned."""
        _, to_prefect = self.cables
        there = {
            "AUTOINDEX_DATABASE_URL": self._database_afar,
            "PREFECT_API_URL": f"http://127.0.0.1:{to_prefect.port}/api",
        }
        name = f"Worker {next(self._names)}"
        self.afar = self.stack.start(name, *_WORKER, **there)
        self.crew.append(self.afar)

    def dismiss(self, worker: Child) -> None:
        """Forget a worker that is gone."""
        if worker is self.afar:
            self.afar = None
        self.crew.remove(worker)
        self.stack.children.remove(worker)

    def runs(self) -> list[psutil.Process]:
        """The processes of running tasks."""
        return [run for zygote in self.zygotes() for run in _children(zygote)]

    def zygotes(self) -> list[psutil.Process]:
        """The workers' warm processes."""
        guards = [one for worker in self.crew for one in _children(psutil.Process(worker.pid))]
        return [one for guard in guards for one in _children(guard)]

    # Faults: each is over by itself, or is undone by `wake`.

    def kill_a_run(self) -> None:
        _send(self._one_of(self.runs()), signal.SIGKILL)

    def kill_a_zygote(self) -> None:
        _send(self._one_of(self.zygotes()), signal.SIGKILL)

    def kill_a_worker(self) -> None:
        worker = self._awake()
        worker.process.kill()
        worker.process.wait()
        self.dismiss(worker)
        self.hire()

    def stop_a_worker_in_order(self) -> None:
        worker = self._awake()
        worker.process.terminate()
        self.hire()
        worker.process.wait(60)
        self.dismiss(worker)

    def pause_a_host(self) -> None:
        """Longer than its leases."""
        worker = psutil.Process(self._awake().pid)
        self._pause([worker, *_children(worker, recursive=True)], self._lease_seconds * 2)

    def cut_off_a_host(self) -> None:
        """From Prefect and the database, for longer than its leases."""
        if self.afar is None:
            self.hire_afar()
        for cable in self.cables:
            cable.cut()
        self._cut_until = time.monotonic() + self._lease_seconds * 2

    def pause_a_run(self) -> None:
        if (run := self._one_of(self.runs())) is not None:
            self._pause([run], self._lease_seconds * 2)

    def pause_prefect(self) -> None:
        (server,) = [child for child in self.stack.children if child.name == "Prefect server"]
        self._pause([psutil.Process(server.pid)], 4)

    def cut_off_the_database(self) -> None:
        """End every connection that workers and runs have."""
        engine = create_engine(self.stack.settings.database())
        with engine.begin() as connection:
            connection.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name like 'autoindex-run%'"
                    " or application_name like 'autoindex-worker%'"
                )
            )
        engine.dispose()

    def disturb_the_provider(self) -> None:
        url = f"http://127.0.0.1:{self.stack.settings.sandbox_port}/sandbox/faults"
        fault = self.random.choice(["edge_page", "truncated", "dropped"])
        httpx.put(url, json=[{"kind": fault, "times": 1}], trust_env=False)

    def starve(self) -> None:
        """Have every run share its processor with a loop of ours."""
        loop = "import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: pass"
        for _ in range(os.cpu_count() or 1):
            self.loops.append(subprocess.Popen([sys.executable, "-c", loop]))

    @property
    def menu(self) -> list[Callable[[], None]]:
        """Every fault there is."""
        return [
            self.kill_a_run,
            self.kill_a_run,
            self.kill_a_zygote,
            self.kill_a_worker,
            self.stop_a_worker_in_order,
            self.pause_a_host,
            self.cut_off_a_host,
            self.pause_a_run,
            self.pause_prefect,
            self.cut_off_the_database,
            self.disturb_the_provider,
            self.starve,
        ]

    def strike(self, fault: Callable[[], None]) -> None:
        """One fault."""
        self.wake()
        self.faults[fault.__name__] += 1
        fault()

    def ask(self, path: str, body: Mapping[str, Any]) -> None:
        """Ask for a task until it is accepted; a facade that says 503 or 429 has not accepted."""
        while True:
            with suppress(httpx.TransportError):
                answer = self.app.http.post(f"/api/v1/background/{path}", json=body)
                if answer.status_code == httpx.codes.ACCEPTED:
                    self.accepted.append(answer.json()["task_id"])
                    return
                assert answer.status_code in (429, 503), answer.text
            self.wake()
            time.sleep(0.5)

    def wake(self, *, all_of_them: bool = False) -> None:
        """Let what was paused for long enough go on."""
        now = time.monotonic()
        due = [entry for entry in self.stopped if all_of_them or entry[0] <= now]
        self.stopped = [entry for entry in self.stopped if entry not in due]
        for _, process in due:
            _send(process, signal.SIGCONT)
        if all_of_them or self._cut_until <= now:
            for cable in self.cables:
                cable.heal()
        self.loops = [loop for loop in self.loops if loop.poll() is None]

    def blow(self, number: int, every: float, faults: list[Callable[[], None]]) -> None:
        """Ask for so many tasks, with a fault every few seconds, as long as there are faults."""
        waiting = list(tasks(number))
        struck = time.monotonic()
        while waiting or faults:
            self.wake()
            if waiting:
                self.ask(*waiting.pop(0))
            if faults and time.monotonic() - struck > every:
                self.strike(faults.pop(0))
                struck = time.monotonic()
            time.sleep(0.2)

    def rehearse(self, number: int) -> None:
        """The same tasks without a fault, twice: an index that is computed for the first time has
        nothing to go on from, and may differ in its last digit from one that has.
        """
        for _ in range(2):
            self.blow(number, 0, [])
            self.settle()
            self.accepted = []

    def settle(self) -> dict[str, dict[str, Any]]:
        """Let everything go on and wait until every task has ended; their statuses by id."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        ended: dict[str, dict[str, Any]] = {}
        while len(ended) < len(set(self.accepted)):
            # A paused host comes back only after its leases have expired.
            self.wake()
            for task_id in set(self.accepted) - ended.keys():
                with suppress(httpx.TransportError, AssertionError):
                    # No patience: what has paused the answer may be ours to wake.
                    status = self.app.status(task_id, patience=0)
                    if status["status"] in ENDED:
                        ended[task_id] = status
            left = set(self.accepted) - ended.keys()
            assert time.monotonic() < deadline, [self.app.status(one) for one in left]
            time.sleep(0.5)
        while self.stopped or self._cut_until > time.monotonic():
            self.wake()
            time.sleep(0.2)
        self.wake()
        return ended

    def states(self, task_id: str) -> list[dict[str, Any]]:
        """The states that a task's run has had, in their order."""
        with prefect_client(self.stack) as prefect:
            found = prefect.get("flow_run_states/", params={"flow_run_id": task_id})
        states: list[dict[str, Any]] = found.raise_for_status().json()
        return sorted(states, key=lambda state: str(state["timestamp"]))

    def final_states(self, task_id: str) -> int:
        """How often a task's run has ended after it ran; what came too late was put back."""
        types = [state["type"] for state in self.states(task_id)]
        ended = [kind in FINAL for kind in types if kind in RAN]
        return sum(now and not before for before, now in pairwise([False, *ended]))

    def story(self, task_id: str) -> str:
        """What is known of a task that did not end well: its states, and all that it has logged."""
        asked = {"logs": {"flow_run_id": {"any_": [task_id]}}, "sort": "TIMESTAMP_ASC"}
        with prefect_client(self.stack) as prefect:
            logs = prefect.post("logs/filter", json=asked).raise_for_status().json()
        states = (f"  {s['timestamp']} {s['name']}: {s['message']}" for s in self.states(task_id))
        lines = (f"  {line['timestamp']} {line['message']}" for line in logs)
        return "\n".join([f"task {task_id}", *states, *lines])

    def calm_down(self) -> None:
        """Leave the stack as it was: with one worker, which is called Worker."""
        self.wake(all_of_them=True)
        for worker in list(self.crew):
            worker.stop()
            self.dismiss(worker)
        for cable in self.cables:
            cable.close()
        self.stack.start("Worker", *_WORKER)

    @property
    def _lease_seconds(self) -> float:
        return self.stack.settings.lease_seconds

    def _awake(self) -> Child:
        """A worker that is not paused or cut off; one more where all are."""
        paused = {process.pid for _, process in self.stopped}
        if self.afar is not None and self._cut_until > time.monotonic():
            paused.add(self.afar.pid)
        if not (awake := [worker for worker in self.crew if worker.pid not in paused]):
            self.hire()
            return self.crew[-1]
        return self.random.choice(awake)

    def _pause(self, processes: list[psutil.Process], seconds: float) -> None:
        for process in processes:
            _send(process, signal.SIGSTOP)
            self.stopped.append((time.monotonic() + seconds, process))

    def _one_of(self, processes: list[psutil.Process]) -> psutil.Process | None:
        return self.random.choice(processes) if processes else None


def _children(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=recursive))
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process | None, signum: signal.Signals) -> None:
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signum)


def lost_files(storm: Storm, statuses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Reports whose file is not what its task says."""
    wrong = []
    for task_id, status in statuses.items():
        result = status["result"] or {}
        if status["status"] != "success" or "sha256" not in result:
            continue
        answer = storm.app.http.get(f"/api/v1/reports/{task_id}/file")
        if hashlib.sha256(answer.content).hexdigest() != result["sha256"]:
            wrong.append(task_id)
    return wrong


def leases(engine: Engine, seconds: float = 60) -> int:
    """How many tasks somebody still holds after so long; a task has ended before it is let go."""
    deadline = time.monotonic() + seconds
    while (held := _held(engine)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return held


def _held(engine: Engine) -> int:
    with engine.connect() as connection:
        query = text("select count(*) from leases where holder is not null")
        return int(connection.execute(query).scalar_one())


def main() -> int:
    """Storm a stack of its own and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.chaos", description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder:
        settings = fresh_settings(Path(folder).resolve() / "var").model_copy(
            update={"tasks_per_minute": 100_000, "requests_per_minute": 100_000}
        )
        with local_stack.running(settings, Progress(Console())) as made:
            universe.import_sandbox(made.settings)
            pause_schedules(made)
            return _storm_once(made, chosen)


def _storm_once(made: Stack, chosen: argparse.Namespace) -> int:
    app, engine = App(made, "chaos", EVERYTHING), create_engine(made.settings.database())
    app.succeed("refresh", {"mode": "full"})
    storm = Storm(made, app, random.Random(chosen.seed))
    storm.hire_afar()
    storm.rehearse(8)
    quiet = digest(engine)
    faults = [storm.random.choice(storm.menu) for _ in range(max(1, chosen.tasks // 4))]
    began = time.monotonic()
    storm.blow(chosen.tasks, chosen.every, faults)
    statuses = storm.settle()
    ends = Counter(status["status"] for status in statuses.values())
    endings = {task_id: storm.final_states(task_id) for task_id in statuses}
    left = digest(engine)
    rows = {
        "seconds": round(time.monotonic() - began),
        "requests accepted": len(storm.accepted),
        "tasks": len(statuses),
        **{f"ended as {name}": number for name, number in sorted(ends.items())},
        **{f"fault: {name}": number for name, number in sorted(storm.faults.items())},
        "tasks with more than one end": sum(number != 1 for number in endings.values()),
        "tables that differ": sum(left[name] != quiet[name] for name in quiet),
        "files that differ": len(lost_files(storm, statuses)),
        "leases left": leases(engine),
    }
    for task_id, status in statuses.items():
        if status["status"] != "success" or endings[task_id] != 1:
            say(storm.story(task_id))
    say("\n".join(f"{name:<32} {number}" for name, number in rows.items()))
    storm.calm_down()
    engine.dispose()
    bad = ("tasks with more than one end", "tables that differ", "files that differ", "leases left")
    return int(any(rows[name] for name in bad))


if __name__ == "__main__":
    sys.exit(main())
