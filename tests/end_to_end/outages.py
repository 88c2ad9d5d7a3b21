"""Stop PostgreSQL, ours and Prefect's, under every kind of task at each of its subtasks.

    python -m tests.end_to_end.outages [--seconds 5 15 60]

One task of every kind runs undisturbed first, to learn its subtasks. Then, in each round, one task
of every kind is held as it enters a subtask, PostgreSQL is stopped, and started again after some
seconds. Every task has to end as a success under its id, with one mail at most.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import psycopg
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from psycopg.errors import OperationalError
from rich.console import Console

from autoindex.storage.postgres import connecting
from benchmarks.ports import free_ports
from benchmarks.table import say
from deployments.commands import universe_command
from deployments.local import stack as local_stack
from deployments.local.console import Progress
from deployments.local.stack import Stack
from tests.bounds import HANG_SECONDS
from tests.end_to_end.conftest import EVERYTHING, App, Task, fresh_settings, pause_schedules

KINDS: Final = (
    ("refresh", {"mode": "full", "force": True, "symbols": ["AAPL", "KO"]}),
    # Which no other task here computes, so that none waits for another's lock.
    (
        "compute-index",
        {"strategy": "momentum", "frequency": "quarterly", "start_date": "2015-01-02"},
    ),
    (
        "generate-report",
        {"report_type": "monthly", "format": "pdf", "email": "reader@example.com"},
    ),
    (
        "cleanup",
        {
            "types": ["prices", "news", "logs", "reports"],
            "older_than_days": 3650,
            "dry_run": False,
        },
    ),
)

# What a task enters is noted. It stands still until its row in `held` is there, and at the subtask
# that the row names, until the row says that it was struck or PostgreSQL is gone.
_HOLDING: Final = """
    create table held (task_id uuid primary key, step text, struck boolean not null default false);
    create table entered (task_id uuid, step text, at timestamptz default clock_timestamp());
    create function hold() returns trigger language plpgsql as $$
    begin
        insert into entered values (new.task_id, new.step);
        for attempt in 1..600 loop
            exit when exists (select from held where task_id = new.task_id);
            perform pg_sleep(0.05);
        end loop;
        if exists (select from held where task_id = new.task_id and step = new.step) then
            perform set_config('application_name', 'held ' || new.task_id, false);
            while exists (select from held where task_id = new.task_id and not struck) loop
                perform pg_sleep(0.05);
            end loop;
        end if;
        return null;
    end $$;
    create trigger hold after insert or update on task_progress
        for each row execute function hold();
"""
_RELEASE: Final = """
    drop trigger hold on task_progress; drop function hold; drop table held; drop table entered
"""
_HELD: Final = """
    select substr(application_name, 6) from pg_stat_activity where application_name ~ '^held '
"""
_STEPS: Final = """
    select step from entered where task_id = %s and step is not null group by step order by min(at)
"""


class Strike(NamedTuple):
    """A task, and the subtask at which it is struck."""

    path: str
    body: Mapping[str, Any]
    step: str


@contextmanager
def holding(stack: Stack) -> Iterator[None]:
    """Within it a task goes on where `held` says, and nowhere else."""
    _execute(stack, _HOLDING)
    try:
        yield
    finally:
        _execute(stack, _RELEASE)


def strike(stack: Stack, app: App, strikes: list[Strike], seconds: float) -> list[Task]:
    """One outage under these tasks, each at its subtask; how they have ended, in the same order."""
    # Whoever knows the provider's plan does not ask for it.
    _execute(stack, "delete from credit_plan")
    ids = [_post(stack, app, one) for one in strikes]
    _wait_until_held(stack, app, ids)
    stack.stop_database()
    time.sleep(seconds)
    stack.start_database()
    _execute(stack, "update held set struck = true")
    return [app.until(task_id, _has_ended) for task_id in ids]


def _post(stack: Stack, app: App, one: Strike) -> str:
    task_id = app.post(one.path, one.body)
    _execute(stack, "insert into held values (%s, %s)", task_id, one.step)
    return task_id


def _wait_until_held(stack: Stack, app: App, ids: list[str]) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while (held := {name for (name,) in _execute(stack, _HELD)}) != set(ids):
        assert time.monotonic() < deadline, [app.status(one) for one in set(ids) - held]
        time.sleep(0.1)


def _has_ended(task: Task) -> bool:
    return task["status"] in ("success", "failure", "revoked")


def _execute(stack: Stack, statement: str, *values: Any) -> list[Any]:
    where = connecting.parameters(stack.settings.database())
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        try:
            with psycopg.connect(**where, autocommit=True) as connection:
                done = connection.execute(statement, values or None)  # type: ignore[call-overload]
                return done.fetchall() if done.description else []
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


class _Inbox(Controller):
    """A mail server that counts each mail, by Message-ID."""

    def __init__(self, port: int) -> None:
        self.received: Counter[str] = Counter()
        super().__init__(self, hostname="127.0.0.1", port=port)

    async def handle_DATA(self, _server: Any, _session: Any, mail: Envelope) -> str:  # noqa: N802
        lines = bytes(mail.content or b"").decode(errors="replace").splitlines()
        self.received[next(one for one in lines if one.lower().startswith("message-id"))] += 1
        return "250 OK"


def rehearse(stack: Stack, app: App) -> list[list[Strike]]:
    """Rounds with each subtask of every kind once, one of each kind at a time."""
    _execute(stack, "delete from credit_plan")
    runs = []
    for path, body in KINDS:
        task_id = _post(stack, app, Strike(path, body, "none"))
        task = app.until(task_id, _has_ended)
        assert task["status"] == "success", task
        steps = [step for (step,) in _execute(stack, _STEPS, task_id)]
        runs.append([Strike(path, body, step) for step in steps])
    return [[one for one in together if one] for together in zip_longest(*runs)]


def main() -> int:
    """Strike at every subtask and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.outages", description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[5, 15, 60])
    chosen = parser.parse_args()
    (port,) = free_ports(1)
    inbox = _Inbox(port)
    inbox.start()
    mail = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none"}
    plenty = {
        "tasks_per_minute": 100_000,
        "requests_per_minute": 100_000,
        "api_answer_seconds": HANG_SECONDS,  # this machine may be busy otherwise, too
    }
    with TemporaryDirectory() as folder:
        settings = fresh_settings(Path(folder).resolve() / "var").model_copy(update=mail | plenty)
        with local_stack.running(settings, Progress(Console())) as stack:
            universe_command.import_sandbox(stack.settings)
            pause_schedules(stack)
            bad = _strike_everywhere(stack, chosen.seconds)
    inbox.stop()
    twice = sum(count > 1 for count in inbox.received.values())
    say(f"{bad} tasks did not end well; {len(inbox.received)} mails, {twice} of them sent twice")
    return int(bool(bad or twice))


def _strike_everywhere(stack: Stack, outages: list[float]) -> int:
    """A line for each subtask and outage; how many tasks did not end well."""
    app, bad = App(stack, "outages", EVERYTHING), 0
    app.succeed("refresh", {"mode": "full"})
    # The first one has a step for each month that it deletes, which no later one has.
    app.succeed("cleanup", dict(KINDS)["cleanup"])
    with holding(stack):
        rounds = rehearse(stack, app)
        for seconds, strikes in ((s, one) for s in outages for one in rounds):
            began = time.monotonic()
            for one, end in zip(strikes, strike(stack, app, strikes, seconds), strict=True):
                bad += end["status"] != "success"
                how = f"{end['status']} {end['error'] or ''}".rstrip()
                say(f"{seconds:>4.0f} s  {one.path:<16} {one.step:<22} {how}")
            say(f"        all ended {time.monotonic() - began - seconds:.0f} s beside the outage")
    app.http.close()
    return bad


if __name__ == "__main__":
    sys.exit(main())
