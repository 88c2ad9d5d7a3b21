"""An installation part by part, as on several hosts: parts of any version, and a load on them."""

import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
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

CLI: Final = "deployments.cli"
ENDED: Final = frozenset({"success", "failure", "revoked"})
_INDEX: Final = "/api/v1/index"
_ASKED: Final = (
    ("refresh", {"mode": "smart", "force": True, "symbols": ["AAPL", "KO"]}),
    ("generate-report", {"report_type": "quarterly", "format": "json"}),
    ("compute-index", {"strategy": "momentum", "frequency": "monthly"}),
    ("cleanup", {"types": ["logs"], "older_than_days": 3650, "dry_run": False}),
)


class Installation:
    """A database and a source of prices, and the parts that are started, of any version."""

    def __init__(
        self, folder: Path, parts: ExitStack, changed: Mapping[str, str] | None = None
    ) -> None:
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
        self._changed = changed or {}
        self.parts = parts
        self._numbers = count(1)
        self.stack.start_database()
        parts.callback(self.stack.stop_database)
        bootstrap.create_prefect_database(settings)
        self.start("sandbox", PROJECT, "sandbox", "--port", str(settings.sandbox_port))

    @property
    def settings(self) -> Settings:
        return self.stack.settings

    def command(self, tree: Path, module: str, *words: str) -> str:
        """What a command of a version prints."""
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
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
        self.parts.callback(child.stop)
        return child

    def prefect_server(self, name: str, port: int, *words: str) -> Child:
        """One that answers."""
        login = self.stack.prefect_login
        server = ("prefect", "server", "start", "--host=127.0.0.1", "--port", str(port))
        child = self.start(name, PROJECT, *server, *words, PREFECT_SERVER_API_AUTH_STRING=login)
        until(lambda: is_ok(f"http://127.0.0.1:{port}/api/health"), child)
        return child

    def set_up(self, tree: Path) -> None:
        """Bootstrap, and import the universe of the sandbox."""
        say(self.command(tree, CLI, "bootstrap"))
        universe = tree / "sandbox" / "data" / "universe.csv"
        say(self.command(tree, CLI, "universe", "import", str(universe)))

    def facade(self, tree: Path, number: int) -> Child:
        """One that serves."""
        port = self.ports[number]
        child = self.start(f"facade {number}", tree, "api", AUTOINDEX_API_PORT=str(port))
        until(lambda: is_ok(f"http://127.0.0.1:{port}/health"), child)
        return child

    def worker(self, tree: Path) -> Child:
        """One that is being started."""
        chosen = ("--pool", POOL, "--type", "autoindex")
        return self.start("worker", tree, "prefect", "worker", "start", *chosen)

    def _env(self, tree: Path) -> dict[str, str]:
        # Before the version that is installed here.
        ours = {"PYTHONPATH": str(tree), "AUTOINDEX_DRAIN_SECONDS": "60"}
        return self.stack.env | ours | self._changed

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

    def __init__(self, installation: Installation) -> None:
        token = tokens.mint(
            installation.settings, user="tester", scopes=EVERYTHING, lifetime=timedelta(hours=2)
        )
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
        for client in self._clients:
            installation.parts.callback(client.close)
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

    def run(self, path: str, body: Mapping[str, Any]) -> str:
        """Start a task and wait for its success; its id."""
        answer = self.request("POST", f"{TASKS}/{path}", json=body).raise_for_status()
        task_id = str(answer.json()["task_id"])
        until(lambda: self.status(task_id)["status"] in ENDED)
        assert self.status(task_id)["status"] == "success", self.status(task_id)
        return task_id

    def ended(self) -> Counter[str]:
        """How the tasks have ended, once all have."""
        found: Counter[str] = Counter()
        for task in dict.fromkeys(self.accepted):
            until(lambda task=task: self.status(task)["status"] in ENDED)
            state = self.status(task)
            found[f"{state['kind']} {state['status']} {state['error'] or ''}".strip()] += 1
        return found

    def status(self, task_id: str) -> Mapping[str, Any]:
        answer = self.request("GET", f"{TASKS}/status/{task_id}")
        return answer.json() if answer.is_success else {"status": "unknown"}


def _is_told_to_retry(answer: httpx.Response) -> bool:
    return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "Retry-After" in answer.headers


def until(wanted: Any, child: Child | None = None) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not wanted():
        if child is not None:
            child.check_alive()
        if time.monotonic() > deadline:
            raise SystemExit("it takes too long")
        time.sleep(0.3)


def is_ok(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=60, trust_env=False).is_success
    return False
