"""Upgrade a running installation, part by part, under load, as the operators' guide says.

    python -m tests.end_to_end.upgrade [--from COMMIT]

Two facades and two workers of the old version serve requests. The new version migrates the tables,
its workers take over, and the facades are restarted one by one. Nothing may be lost: every task
ends as a success, every request is answered or told when to try again, and levels, tokens, links
and an operator's schedules are what they were. Both versions run in this environment, which has to
suit both. Without `--from` it is this version that takes over from itself.
"""

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, Final
from uuid import uuid4

import httpx
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from api.auth import tokens
from autoindex.settings import Settings
from benchmarks.ports import free_ports
from benchmarks.table import say
from deployments import bootstrap
from deployments.local.child import Child
from deployments.local.stack import SANDBOX_CLOCK, Stack
from tests.bounds import HANG_SECONDS
from tests.end_to_end.conftest import EVERYTHING, TASKS, fresh_settings
from worker import POOL
from worker.prefect_yaml import PROJECT

_ENDED: Final = frozenset({"success", "failure", "revoked"})
_INDEX: Final = "/api/v1/index"
_ASKED: Final = (
    ("refresh", {"mode": "smart", "force": True, "symbols": ["AAPL", "KO"]}),
    ("generate-report", {"report_type": "quarterly", "format": "json"}),
    ("compute-index", {"strategy": "momentum", "frequency": "monthly"}),
    ("cleanup", {"types": ["logs"], "older_than_days": 3650, "dry_run": False}),
)


class Installation:
    """A database, a Prefect server and prices that stay, and parts of either version."""

    def __init__(self, folder: Path, parts: ExitStack) -> None:
        settings = fresh_settings(folder / "var").model_copy(
            update={
                "jwt_secret": SecretStr(secrets.token_urlsafe(48)),
                "clock": SANDBOX_CLOCK,
                "tasks_per_minute": 100_000,
                "requests_per_minute": 100_000,
            }
        )
        where = f"http://127.0.0.1:{settings.sandbox_port}"
        settings = settings.model_copy(update={"twelve_data_base_url": where})
        settings.data_dir.mkdir(mode=0o700)
        self.stack = Stack(settings)
        self.ports = free_ports(2)
        self._parts = parts
        self._numbers = count(1)
        self.stack.start_database()
        parts.callback(self.stack.stop_database)
        bootstrap.create_prefect_database(settings)

    @property
    def settings(self) -> Settings:
        return self.stack.settings

    def command(self, tree: Path, *words: str) -> str:
        """What a command of a version prints."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tree,
            env=self._env(tree),
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout.strip()

    def start(self, name: str, tree: Path, *words: str, **changed: str) -> Child:
        """A part of a version, until the end or until it is stopped."""
        log = self.settings.data_dir / "logs" / f"{next(self._numbers)}-{name}.log"
        env = self._env(tree) | changed
        child = Child(name, [sys.executable, "-m", *words], log=log, env=env, cwd=tree)
        self._parts.callback(child.stop)
        return child

    def facade(self, tree: Path, number: int) -> Child:
        """One that serves."""
        port = self.ports[number]
        child = self.start(f"facade {number}", tree, "api", AUTOINDEX_API_PORT=str(port))
        _until(lambda: _is_ok(f"http://127.0.0.1:{port}/health"), child)
        return child

    def worker(self, tree: Path) -> Child:
        """One that is being started."""
        chosen = ("--pool", POOL, "--type", "autoindex")
        return self.start("worker", tree, "prefect", "worker", "start", *chosen)

    def _env(self, tree: Path) -> dict[str, str]:
        # Before the version that is installed here.
        return self.stack.env | {"PYTHONPATH": str(tree), "AUTOINDEX_DRAIN_SECONDS": "60"}

    def rows(self, query: str) -> list[Any]:
        """What the database holds."""
        engine = create_engine(self.settings.database())
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return found

    @contextmanager
    def prefect(self) -> Iterator[httpx.Client]:
        """A client of Prefect's API."""
        user, _, password = self.stack.prefect_login.partition(":")
        url = f"{self.stack.prefect_url}/api/"
        with httpx.Client(
            base_url=url, auth=(user, password), timeout=HANG_SECONDS, trust_env=False
        ) as client:
            yield client


class Load:
    """Requests by way of a balancer, all the while; what was accepted, and what was not."""

    def __init__(self, installation: Installation, token: str) -> None:
        self.accepted: list[str] = []
        self.answers: Counter[str] = Counter()
        self._clients = [
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
                trust_env=False,
            )
            for port in installation.ports
        ]
        self._turn = count()
        self._over = Event()
        self._thread = Thread(target=self._send, daemon=True)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer of a facade that takes connections; a balancer tries the next one."""
        first = next(self._turn)
        for number in range(len(self._clients)):
            with suppress(httpx.ConnectError):
                client = self._clients[(first + number) % len(self._clients)]
                return client.request(method, path, **more)
        raise SystemExit("no facade takes connections")

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        for number in count():
            if self._over.is_set():
                return
            self._start(number)
            self._note(self.request("GET", f"{_INDEX}/levels"))
            time.sleep(0.2)

    def _start(self, number: int) -> None:
        path, body = _ASKED[number % len(_ASKED)]
        key = {"Idempotency-Key": uuid4().hex}
        while True:
            answer = self.request("POST", f"{TASKS}/{path}", json=body, headers=key)
            self._note(answer)
            if answer.status_code == httpx.codes.ACCEPTED:
                self.accepted.append(answer.json()["task_id"])
            if not _is_told_to_retry(answer) or self._over.is_set():
                return
            time.sleep(1)

    def _note(self, answer: httpx.Response) -> None:
        told = ", told to try again" if _is_told_to_retry(answer) else ""
        self.answers[f"{answer.status_code}{told}"] += 1

    def ended(self) -> Counter[str]:
        """How the tasks have ended, once all have."""
        found: Counter[str] = Counter()
        for task in dict.fromkeys(self.accepted):
            _until(lambda task=task: self._status(task)["status"] in _ENDED)
            state = self._status(task)
            found[f"{state['kind']} {state['status']} {state['error'] or ''}".strip()] += 1
        return found

    def _status(self, task_id: str) -> Mapping[str, Any]:
        answer = self.request("GET", f"{TASKS}/status/{task_id}")
        return answer.json() if answer.is_success else {"status": "unknown"}


def _is_told_to_retry(answer: httpx.Response) -> bool:
    return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "Retry-After" in answer.headers


def _until(wanted: Any, child: Child | None = None) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not wanted():
        if child is not None:
            child.check_alive()
        if time.monotonic() > deadline:
            raise SystemExit("it takes too long")
        time.sleep(0.3)


def _is_ok(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=60, trust_env=False).is_success
    return False


class Kept:
    """What has to be the same afterwards."""

    def __init__(self, installation: Installation, load: Load) -> None:
        self._installation = installation
        self._load = load
        answer = load.request(
            "POST", f"{TASKS}/generate-report", json={"report_type": "monthly", "format": "pdf"}
        )
        self._task = answer.raise_for_status().json()["task_id"]
        _until(lambda: load._status(self._task)["status"] == "success")
        self._before = self._read()

    def _read(self) -> Mapping[str, Any]:
        link = self._load._status(self._task)["result"]["file"]
        with self._installation.prefect() as prefect:
            found = prefect.post("deployments/filter", json={}).raise_for_status().json()
        schedules = {
            one["name"]: (one["paused"], [(s["active"], s["schedule"]) for s in one["schedules"]])
            for one in found
        }
        levels = self._installation.rows(
            "select strategy, frequency, session, level from index_levels "
            "where strategy = 'composite' order by 1, 2, 3"
        )
        report = self._load.request("GET", httpx.URL(link).raw_path.decode())
        return {
            "levels": levels,
            "report": (report.status_code, report.content),
            "schedules": schedules,
        }

    def changed(self) -> list[str]:
        """What is not as it was."""
        after = self._read()
        return [name for name, value in self._before.items() if after[name] != value]


def _operate(installation: Installation) -> None:
    """Pause a deployment and move the schedule of another, as an operator does."""
    with installation.prefect() as prefect:
        found = prefect.post("deployments/filter", json={}).raise_for_status().json()
        paused, moved = sorted(found, key=lambda one: str(one["name"]))[:2]
        prefect.post(f"deployments/{paused['id']}/pause_deployment").raise_for_status()
        for schedule in moved["schedules"]:
            changed = schedule["schedule"] | {"cron": "7 3 * * 0"}
            where = f"deployments/{moved['id']}/schedules/{schedule['id']}"
            prefect.patch(where, json={"schedule": changed}).raise_for_status()


def rehearse(installation: Installation, old: Path, new: Path) -> list[str]:
    """Install the old version, upgrade it under load; what went wrong."""
    cli = ("-m", "deployments.cli")
    port = str(installation.settings.prefect_port)
    login = installation.stack.prefect_login
    installation.start(
        *("sandbox", new, "sandbox", "--port"), str(installation.settings.sandbox_port)
    )
    server = ("prefect", "server", "start", "--host=127.0.0.1", "--port", port)
    prefect = installation.start("prefect", new, *server, PREFECT_SERVER_API_AUTH_STRING=login)
    _until(lambda: _is_ok(f"{installation.stack.prefect_url}/api/health"), prefect)
    say(installation.command(old, *cli, "bootstrap"))
    universe = old / "sandbox" / "data" / "universe.csv"
    say(installation.command(old, *cli, "universe", "import", str(universe)))
    workers = [installation.worker(old) for _ in range(2)]
    facades = [installation.facade(old, number) for number in range(2)]
    ready = f"http://127.0.0.1:{installation.ports[0]}/ready"
    _until(lambda: _is_ok(ready))
    token = tokens.mint(
        installation.settings, user="tester", scopes=EVERYTHING, lifetime=timedelta(hours=2)
    )
    load = Load(installation, token)
    task = load.request("POST", f"{TASKS}/refresh", json={"mode": "full"}).json()["task_id"]
    _until(lambda: load._status(task)["status"] in _ENDED)
    kept = Kept(installation, load)
    _operate(installation)
    kept = Kept(installation, load)
    with load:
        time.sleep(10)
        say(installation.command(new, *cli, "bootstrap"))
        began = time.monotonic()
        newer = [installation.worker(new) for _ in range(2)]
        for worker in workers:
            worker.stop(90)
        say(f"the old workers have stopped after {time.monotonic() - began:.0f} s")
        for number, facade in enumerate(facades):
            facade.stop(60)
            facades[number] = installation.facade(new, number)
            say(f"facade {number} is of the new version")
        time.sleep(10)
    ends = load.ended()
    for worker in newer:
        worker.check_alive()
    for how, times in sorted((load.answers + ends).items()):
        say(f"{times:>6} {how}")
    wrong = [how for how in ends if how.split()[1] != "success"]
    wrong += [how for how in load.answers if not how.startswith("2") and "," not in how]
    return [*wrong, *(f"{name} changed" for name in kept.changed())]


@contextmanager
def _version(commit: str | None) -> Iterator[Path]:
    """The files of a commit; this version's where it is None."""
    if commit is None:
        yield PROJECT
        return
    with TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=PROJECT, check=True, stdout=-1)
        subprocess.run(
            ["tar", "--extract", "--directory", folder], input=archive.stdout, check=True
        )
        yield Path(folder)


def main() -> int:
    """Rehearse, and print what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.upgrade", description=__doc__)
    parser.add_argument("--from", dest="commit", help="the old version; this one if not given")
    chosen = parser.parse_args()
    os.umask(0o077)
    with (
        TemporaryDirectory() as folder,
        _version(chosen.commit) as old,
        ExitStack() as parts,
    ):
        wrong: Sequence[str] = rehearse(Installation(Path(folder).resolve(), parts), old, PROJECT)
    say("\n".join(wrong) or "nothing was lost, and nothing has changed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
