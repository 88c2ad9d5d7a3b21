"""The whole stack, started once: everything here goes through HTTP, as the app does."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from rich.console import Console
from sqlalchemy import Engine, create_engine

from api.auth import tokens
from autoindex.settings import Settings
from benchmarks.ports import free_ports
from deployments.commands import universe_command
from deployments.local import stack as local_stack
from deployments.local.console import Progress
from deployments.local.stack import Stack
from tests.bounds import HANG_SECONDS
from tests.shared_servers import until_unused

TASKS = "/api/v1/background"
EVERYTHING = ("tasks:read", "tasks:run", "tasks:admin")
Task = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "end_to_end" in item.path.parts:
            item.add_marker("end_to_end")
            item.add_marker("server")


def fresh_settings(folder: Any) -> Settings:
    api, prefect, sandbox = free_ports(3)
    return Settings(
        data_dir=folder,
        api_port=api,
        prefect_port=prefect,
        sandbox_port=sandbox,
        # Long enough for a run to make way for it.
        retry_delay_seconds=6,
    )


@pytest.fixture(scope="session")
def stack(memory_folder: Path) -> Iterator[Stack]:
    # A folder of any name will do.
    settings = fresh_settings(memory_folder / "S pace ü&+%41#?")
    progress = Progress(Console(file=StringIO()))
    with until_unused("stack") as parts:
        running = parts.enter_context(local_stack.running(settings, progress))
        universe_command.import_sandbox(running.settings)
        # At a full hour a scheduled run would come between a test and its own.
        pause_schedules(running)
        yield running


def prefect_client(running: Stack, path: str = "") -> httpx.Client:
    """A client of the stack's Prefect server, logged in."""
    user, _, password = running.prefect_login.partition(":")
    url = f"{running.prefect_url}/api/{path}"
    return httpx.Client(base_url=url, auth=(user, password), timeout=HANG_SECONDS, trust_env=False)


def switch_schedules(running: Stack, to: str) -> None:
    """`pause` or `resume` all schedules."""
    with prefect_client(running, "deployments") as prefect:
        for deployment in prefect.post("/filter", json={}).raise_for_status().json():
            prefect.post(f"/{deployment['id']}/{to}_deployment").raise_for_status()


def pause_schedules(running: Stack) -> None:
    """And wait until no run of theirs is left: one may just be added, or have been started."""
    deadline = time.monotonic() + HANG_SECONDS
    switch_schedules(running, "pause")
    while left := _scheduled(running):
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
        switch_schedules(running, "pause")


def _scheduled(running: Stack) -> list[str]:
    """The names of runs that schedules have made and that have not ended."""
    not_ended = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]
    asked = {"flow_runs": {"state": {"type": {"any_": not_ended}}}}
    with prefect_client(running) as prefect:
        found = prefect.post("flow_runs/filter", json=asked).raise_for_status().json()
    return [run["name"] for run in found if run["auto_scheduled"]]


class App:
    """The app's side of the facade."""

    def __init__(self, running: Stack, user: str, scopes: tuple[str, ...]) -> None:
        token = tokens.mint(running.settings, user=user, scopes=scopes, lifetime=timedelta(hours=1))
        self.http = httpx.Client(
            base_url=running.api_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=HANG_SECONDS,
            trust_env=False,
        )

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> str:
        # What was made although the answer was a 503 is not made again.
        key = {"Idempotency-Key": uuid4().hex}
        answer = self._ask("POST", path, json=body or {}, headers=key)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    def status(self, task_id: str, patience: float = HANG_SECONDS) -> Task:
        answer = self._ask("GET", f"status/{task_id}", patience)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def _ask(
        self, method: str, path: str, patience: float = HANG_SECONDS, **more: Any
    ) -> httpx.Response:
        """An answer; a 503, which says that a part is away or slow, only after a while."""
        deadline = time.monotonic() + patience
        while True:
            answer = self.http.request(method, f"{TASKS}/{path}", **more)
            if answer.status_code != 503 or time.monotonic() > deadline:
                return answer
            time.sleep(0.5)

    def until(
        self, task_id: str, wanted: Callable[[Task], bool], seconds: float = HANG_SECONDS
    ) -> Task:
        deadline = time.monotonic() + seconds
        while not wanted(task := self.status(task_id)):
            assert time.monotonic() < deadline, f"still {task}"
            time.sleep(0.3)
        return task

    def run(self, path: str, body: Mapping[str, Any] | None = None) -> Task:
        """Start a task and wait for its end."""
        ended = ("success", "failure", "revoked")
        return self.until(self.post(path, body), lambda task: task["status"] in ended)

    def succeed(self, path: str, body: Mapping[str, Any] | None = None) -> Task:
        task = self.run(path, body)
        assert task["status"] == "success", task
        return task


@pytest.fixture(scope="session")
def app(stack: Stack) -> Iterator[App]:
    made = App(stack, "tester", EVERYTHING)
    yield made
    made.http.close()


@pytest.fixture(scope="session")
def refreshed(app: App) -> Task:
    """A full refresh of the sandbox's universe, done once."""
    return app.succeed("refresh", {"mode": "full"})


@pytest.fixture(scope="session")
def database(stack: Stack) -> Iterator[Engine]:
    engine = create_engine(stack.settings.database())
    yield engine
    engine.dispose()


@pytest.fixture
def sandbox(stack: Stack) -> Iterator[httpx.Client]:
    """The sandbox's switches; what a test has switched is put back."""
    url = f"http://127.0.0.1:{stack.settings.sandbox_port}"
    with httpx.Client(base_url=url, timeout=HANG_SECONDS, trust_env=False) as client:
        client.delete("/sandbox")
        yield client
        client.delete("/sandbox")
