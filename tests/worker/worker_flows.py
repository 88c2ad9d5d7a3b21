"""Flows for the worker to run, each of which says in a file what it has seen."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from sqlalchemy import text

from autoindex.errors import ProviderUnavailable
from autoindex.storage.postgres import locks
from flows.attempts import time_limit
from flows.attempts.attempt import lock_wait_seconds, resumable
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime, opened

AT_START = frozenset(sys.modules)


def say(note: str, **seen: Any) -> None:
    """Add a line to a file."""
    line = json.dumps({"pid": os.getpid(), "ppid": os.getppid(), "at": time.time(), **seen})
    with Path(note).open("a") as file:
        file.write(line + "\n")


def said(note: str) -> list[dict[str, Any]]:
    path = Path(note)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def failed(flow: Flow[Any, Any], run: FlowRun, state: State[Any]) -> None:
    """A failure hook."""
    say(run.parameters["note"] + ".hook", message=state.message)


@flow
def look_around(note: str) -> None:
    threads = len(list(Path("/proc/self/task").iterdir()))
    loaded = "pandas" in AT_START or "pandas" in sys.modules
    chosen = os.environ.get("CHOSEN")
    say(note, threads=threads, loaded=loaded, session=os.getsid(0), chosen=chosen)


@flow(on_failure=[failed])
@resumable
def sleep(note: str, seconds: float = 120) -> None:
    say(note)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)


@flow(on_failure=[failed])
def sleep_on_second_attempt(note: str, attempts: int = 1) -> None:
    """Ends once `attempts` before this one have not."""
    say(note)
    if len(said(note)) <= attempts:
        time.sleep(120)


@flow
def end_when_told(note: str) -> None:
    """By a file."""
    say(note)
    while not Path(note + ".go").exists():
        time.sleep(0.05)


@flow
def start_daemons(note: str) -> None:
    """In sessions of their own, one of them also without a parent; then end when told."""
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    orphan = subprocess.check_output(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"])
    say(note, daemons=[child.pid, int(orphan)])
    while not Path(note + ".go").exists():
        time.sleep(0.05)


@flow(on_failure=[failed])
def make_an_error_of_being_stopped(note: str) -> None:
    """As Prefect's engine does between two of its own steps."""
    say(note)
    if len(said(note)) == 1:
        try:
            time.sleep(120)
        except BaseException:  # noqa: BLE001 - that is the point
            raise ValueError("stopped") from None


@flow(on_failure=[failed])
def compute_in_c(note: str) -> None:
    """Never looks for signals."""
    say(note)
    sum(range(10**12))


@flow(on_failure=[failed])
def hoard(note: str, at_once_mb: int = 10) -> None:
    """Takes more and more memory."""
    hoarded = []
    while True:
        hoarded.append(bytearray(os.urandom(1 << 20)) * at_once_mb)
        say(note, mb=len(hoarded) * at_once_mb)
        time.sleep(0.2)


@flow
@resumable
def ask_for_too_much(note: str) -> None:
    say(note)
    bytearray(1 << 36)


@flow
@resumable
def finish_what_is_begun(note: str) -> None:
    """Is asked to end within a transaction."""
    with time_limit.deferred():
        say(note)
        time.sleep(8)
        say(note, finished=True)
    say(note, never=True)


@flow
@resumable
def query_for_long(note: str) -> None:
    """Asks the database, in a subtask, what takes a minute."""
    with opened() as run:
        wait_in_the_database(run, note)


@retrying("wait in the database")
def wait_in_the_database(run: Runtime, note: str) -> None:
    say(note)
    with run.engine.begin() as connection:
        connection.execute(text("select pg_sleep(60)"))


@flow
@resumable
def fail_at_first(note: str, failures: int) -> str:
    with opened():
        return ask(note, failures)


@flow
@resumable
def work_alone(note: str) -> None:
    """Until it is told to end, by a file."""
    with opened() as run, locks.exclusive(run.engine, "lonely task", patience=lock_wait_seconds()):
        say(note)
        while not Path(note + ".go").exists():
            time.sleep(0.05)


@retrying("ask")
def ask(note: str, failures: int) -> str:
    say(note)
    if len(said(note)) <= failures:
        raise ProviderUnavailable("the provider is busy")
    return "answered"


@flow
def write_late(note: str) -> None:
    """Commits a row when it is told to, by a file."""
    with opened() as run:
        with run.engine.connect() as connection:
            connection.execute(
                text(
                    "insert into data_versions (name, version) values ('late', 1)"
                    " on conflict (name) do update set version = data_versions.version + 1"
                )
            )
            say(note)
            if len(said(note)) == 1:
                while not Path(note + ".go").exists():
                    time.sleep(0.05)
            connection.commit()
        say(note + ".committed")
