"""`autoindex demo`: the main job through the REST facade, over HTTP, on real sample prices."""

import time
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from api.auth import tokens
from autoindex.errors import AutoindexError
from autoindex.reports import wording
from autoindex.settings import Settings
from deployments.local import stack
from deployments.local.console import Progress, Step
from deployments.local.greeting import greet
from deployments.local.stack import Stack
from deployments.local.stop_signals import stopped_by_signals
from deployments.local.up import stay

TASKS: Final = "/api/v1/background"
_POLL_SECONDS: Final = 0.3
# Far more than a task takes, also where the machine is busy with something else.
_TASK_SECONDS: Final = 1_800.0


class DemoFailed(AutoindexError):
    """A task of the demonstration did not succeed."""


class App:
    """The app's side: starts tasks through the facade and follows them."""

    def __init__(self, running: Stack) -> None:
        token = tokens.mint(
            running.settings,
            user="demo",
            scopes=["tasks:read", "tasks:run"],
            lifetime=timedelta(hours=1),
        )
        self.http = httpx.Client(
            base_url=running.api_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            trust_env=False,
        )
        self._running = running

    def start(self, path: str, body: Mapping[str, Any]) -> str:
        """Start a task; its id. The key makes it safe to ask again when no answer came."""
        key = {"Idempotency-Key": str(uuid4())}
        answer = self._ask("POST", f"{TASKS}/{path}", json=body, headers=key)
        return str(answer.json()["task_id"])

    def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request, repeated while the facade says that a part does not answer yet."""
        deadline = time.monotonic() + _TASK_SECONDS
        while True:
            self._running.check_alive()
            answer = self.http.request(method, path, **arguments)
            if answer.is_success:
                return answer
            wait = answer.headers.get("Retry-After")
            if wait is None or time.monotonic() > deadline:
                raise DemoFailed(
                    f"{method} {path} was answered {answer.status_code}: {answer.text}"
                )
            time.sleep(min(float(wait), 5.0))

    def follow(self, task_id: str, step: Step) -> dict[str, Any]:
        """Wait for a task to end, showing its status meanwhile; its result."""
        deadline = time.monotonic() + _TASK_SECONDS
        while time.monotonic() < deadline:
            task: dict[str, Any] = self._ask("GET", f"{TASKS}/status/{task_id}").json()
            if task["status"] == "success":
                return dict(task["result"])
            if task["status"] in ("failure", "revoked"):
                raise DemoFailed(f"task {task_id} ended as {task['status']}: {task['error']}")
            step.update(_doing(task))
            time.sleep(_POLL_SECONDS)
        raise DemoFailed(f"task {task_id} did not end within {_TASK_SECONDS:.0f} s")

    def download(self, task_id: str, folder: Path, name: str) -> Path:
        """Fetch a report's file into `folder`."""
        answer = self._ask("GET", f"/api/v1/reports/{task_id}/file")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(answer.content)
        return path


def run(settings: Settings, console: Console, *, keep: bool) -> None:
    """Start the stack, do the main job, show what came of it, stop everything."""
    began = time.monotonic()
    progress = Progress(console)
    console.print("[bold]Autoindex demonstration[/]: real sample prices, embedded PostgreSQL\n")
    with stopped_by_signals(), stack.running(settings, progress) as running:
        _main_job(running, progress)
        if keep:
            greet(running, console)
            stay(running)
        else:
            console.print(
                f"\nPrefect UI  {running.prefect_url}  (while the stack runs: `make demo KEEP=1`)",
                highlight=False,
            )
    console.print(f"\nDone in {time.monotonic() - began:.0f} s.", highlight=False)


def _main_job(running: Stack, progress: Progress) -> None:
    app = App(running)
    console = progress.console
    console.print("\nThe main job, through the REST facade:")
    with progress.step("Refresh (full)") as step:
        refreshed = app.follow(app.start("refresh", {"mode": "full"}), step)
        step.done(_refreshed(refreshed))
    with progress.step("Compute index") as step:
        computed = app.follow(app.start("compute-index", {}), step)
        step.done(f"{computed['first_session']} to {computed['last_session']}")
    files = _reports(app, running, progress)
    _show(console, computed, files)


def _refreshed(result: Mapping[str, Any]) -> str:
    """The same where they are stored already: a schedule's run or an earlier demo may be first."""
    records = result["records_updated"] + result["records_unchanged"]
    seconds = result["duration_seconds"]
    return f"{result['symbols_processed']} symbols, {records:,} records in {seconds:.1f} s"


def _reports(app: App, running: Stack, progress: Progress) -> list[Path]:
    kinds = ("pdf", "excel", "json")
    with progress.step("Reports", "three at once") as step:
        tasks = {
            kind: app.start("generate-report", {"report_type": "monthly", "format": kind})
            for kind in kinds
        }
        results = {kind: app.follow(tasks[kind], step) for kind in kinds}
        folder = running.settings.data_dir / "downloads"
        files = []
        for kind in kinds:
            path = app.download(tasks[kind], folder, results[kind]["file_name"])
            if sha256(path.read_bytes()).hexdigest() != results[kind]["sha256"]:
                raise DemoFailed(f"{path} is not the file that was made")
            files.append(path)
        step.done(", ".join(kinds))
    return files


def _doing(task: Mapping[str, Any]) -> str:
    """As in "started: fetch, 12 of 21 symbols fetched"."""
    progress = task.get("progress") or {}
    said = str(task["status"])
    if progress.get("step"):
        said += f": {progress['step']}"
    if progress.get("total"):
        done, total = progress["completed"], progress["total"]
        said += f", {done} of {total} {progress['what'] or ''}".rstrip()
    return said


_HEADLINES: Final = {
    "annual_return": ("Annual return", "{:+.2%}"),
    "annual_volatility": ("Annual volatility", "{:.2%}"),
    "sharpe_ratio": ("Sharpe ratio", "{:.2f}"),
    "max_drawdown": ("Max drawdown", "{:.2%}"),
    "beta": ("Beta to the benchmark", "{:.2f}"),
}


def _show(console: Console, computed: Mapping[str, Any], files: list[Path]) -> None:
    _show_index(console, computed)
    console.print("\nThe reports")
    for path in files:
        console.print(f"  {_from_here(path)}", highlight=False, soft_wrap=True)


def _show_index(console: Console, computed: Mapping[str, Any]) -> None:
    console.print("\nThe index (composite, monthly)", highlight=False)
    table = Table.grid(padding=(0, 4, 0, 2), pad_edge=True)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("Level", f"{computed['level']:,.2f}  ({computed['last_session']})")
    values = [computed["metrics"].get(name) for name in _HEADLINES]
    for (label, form), value in zip(_HEADLINES.values(), values, strict=True):
        table.add_row(label, wording.NOTHING if value is None else form.format(value))
    console.print(table)
    console.print("  Back-tested, on stocks that have survived, without costs", highlight=False)
    if short := wording.footnote(values):
        console.print(Padding(short, (0, 2)), highlight=False)


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
