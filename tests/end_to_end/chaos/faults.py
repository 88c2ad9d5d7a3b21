"""The faults that there are: what each strikes, how it begins, and how it ends.

A fault is a function that begins it, yields for how many seconds it lasts, and ends it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, Signals
from typing import Any, Final

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.bounds import HANG_SECONDS
from tests.end_to_end.chaos.hosts import Host
from tests.end_to_end.chaos.parts import Part
from tests.end_to_end.chaos.stage import Stage

Course = Callable[[Stage, Any], Iterator[float]]
CLOCK_SECONDS: Final = 120
_RETRY_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Fault:
    """One kind of fault; `strikes` names the part, or "host" for any of the hosts."""

    name: str
    strikes: str
    course: Course


class NotHere(Exception):
    """This machine lacks what a fault needs."""


# Parts on the stack's machine, and what service managers and administrators do to them.


def killed(least: float, most: float) -> Course:
    """As by the kernel when memory is short; back after a while."""

    def course(stage: Stage, part: Part) -> Iterator[float]:
        part.kill()
        yield stage.random.uniform(least, most)
        part.start()

    return course


def away(least: float, most: float, signum: Signals = SIGTERM) -> Course:
    """Stopped in order, and started again after a while."""

    def course(stage: Stage, part: Part) -> Iterator[float]:
        part.stop(signum, 15)
        yield stage.random.uniform(least, most)
        part.start()

    return course


def paused(least: float, most: float) -> Course:
    """It takes connections, and answers nothing."""

    def course(stage: Stage, part: Part) -> Iterator[float]:
        part.pause()
        yield stage.random.uniform(least, most)
        part.resume()

    return course


def database_connections_ended(stage: Stage, _: Part) -> Iterator[float]:
    """As an administrator or a pooler does."""
    _run(
        stage,
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
        " and backend_type = 'client backend'",
    )
    yield 0


def database_read_only(stage: Stage, _: Part) -> Iterator[float]:
    """As after a failover to a replica."""
    _run(stage, "alter system set default_transaction_read_only = on", "select pg_reload_conf()")
    yield stage.random.uniform(3, 8)
    _run(stage, "alter system reset default_transaction_read_only", "select pg_reload_conf()")


def mail_away(stage: Stage, _: object) -> Iterator[float]:
    """Connections to it are refused."""
    stage.mail.stop()
    yield stage.random.uniform(3, 8)
    stage.mail.start()


def mail_answers_lost(stage: Stage, _: object) -> Iterator[float]:
    """It has taken a mail in, but nobody is told."""
    stage.mail.loses_answers = True
    yield stage.random.uniform(5, 10)
    stage.mail.loses_answers = False


def provider_in_trouble(stage: Stage, _: object) -> Iterator[float]:
    """It answers one call with what is no answer."""
    kind = stage.random.choice(["edge_page", "truncated", "dropped"])
    stage.provider_faults([{"kind": kind, "times": 1}])
    yield 0


def disk_full(stage: Stage, _: object) -> Iterator[float]:
    """No report file can be written."""
    stage.disk.fill(stage.zygotes)
    yield stage.random.uniform(4, 8)
    stage.disk.free(stage.zygotes)


def processors_busy(stage: Stage, _: object) -> Iterator[float]:
    """Every process shares its processor with a loop of ours."""
    loop = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"
    command = [sys.executable, "-c", loop]
    loops = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    yield stage.random.uniform(3, 6)
    for one in loops:
        one.kill()
        one.wait()


# Hosts, their workers, and what runs there.


def run_killed(stage: Stage, host: Host) -> Iterator[float]:
    """As by the kernel when memory is short."""
    _send(_one_of(stage, host.runs), SIGKILL)
    yield 0


def run_paused(stage: Stage, host: Host) -> Iterator[float]:
    """For longer than its lease."""
    run = _one_of(stage, host.runs)
    _send(run, SIGSTOP)
    yield stage.settings.lease_seconds * 2
    _send(run, SIGCONT)


def zygote_killed(stage: Stage, host: Host) -> Iterator[float]:
    """The warm process ends, and all runs with it."""
    _send(_one_of(stage, host.zygotes), SIGKILL)
    yield 0


def guard_killed(stage: Stage, host: Host) -> Iterator[float]:
    """What looks after the warm process ends; neither that nor a run is to outlive it."""
    _send(_one_of(stage, host.guards), SIGKILL)
    yield 0


def zygote_stalled(stage: Stage, host: Host) -> Iterator[float]:
    """Orders wait for it."""
    zygote = _one_of(stage, host.zygotes)
    _send(zygote, SIGSTOP)
    yield 12
    _send(zygote, SIGCONT)


def worker_killed(_: Stage, host: Host) -> Iterator[float]:
    """The worker alone; what it has started is to end by itself."""
    host.worker.kill(alone=True)
    yield 0
    host.worker.start()


def worker_stopped(_: Stage, host: Host) -> Iterator[float]:
    """As for a new release."""
    host.worker.stop()
    yield 0
    host.worker.start()


def worker_stalled(stage: Stage, host: Host) -> Iterator[float]:
    """The worker alone; its runs go on."""
    process = psutil.Process(host.worker.child.pid)
    _send(process, SIGSTOP)
    yield stage.random.choice([0.8, 2.0]) * stage.settings.lease_seconds
    _send(process, SIGCONT)


def host_paused(stage: Stage, host: Host) -> Iterator[float]:
    """As a virtual machine that is moved; longer than its leases."""
    host.worker.pause()
    yield stage.settings.lease_seconds * 2
    host.worker.resume()


def host_killed(stage: Stage, host: Host) -> Iterator[float]:
    """It loses its power: nobody is told."""
    host.network.cut()
    host.worker.kill()
    yield stage.settings.lease_seconds * 2
    host.network.heal()
    host.worker.start()


def cable_cut(stage: Stage, host: Host) -> Iterator[float]:
    """For longer than its leases; nobody is told, and what was sent comes later."""
    host.network.cut()
    yield stage.settings.lease_seconds * 2
    host.network.heal()


def cable_cut_shortly(stage: Stage, host: Host) -> Iterator[float]:
    """For less than its leases."""
    host.network.cut()
    yield stage.settings.lease_seconds * 0.5
    host.network.heal()


def connections_reset(_: Stage, host: Host) -> Iterator[float]:
    """Both ends are told."""
    host.network.reset()
    yield 0


def connections_forgotten(_: Stage, host: Host) -> Iterator[float]:
    """As by a firewall: neither end is told, and new ones work."""
    host.network.forget()
    yield 0


def clock_apart(stage: Stage, host: Host) -> Iterator[float]:
    """The host's clock is two minutes ahead, or behind."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        raise NotHere("no libfaketime; on Debian: apt install libfaketime")
    seconds = stage.random.choice([CLOCK_SECONDS, -CLOCK_SECONDS])
    host.worker.stop()
    host.worker.start(
        {
            "LD_PRELOAD": str(library),
            "FAKETIME": f"{seconds:+d}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    )
    yield stage.settings.lease_seconds * 2 + 10
    host.worker.stop()
    host.worker.start()


FAULTS: Final = (
    Fault("PostgreSQL killed", "PostgreSQL", killed(0, 0)),
    Fault("PostgreSQL restarted at once", "PostgreSQL", away(0, 0, SIGQUIT)),
    Fault("PostgreSQL away", "PostgreSQL", away(5, 15, SIGINT)),
    Fault("PostgreSQL paused", "PostgreSQL", paused(4, 10)),
    Fault("PostgreSQL read-only", "PostgreSQL", database_read_only),
    Fault("PostgreSQL connections ended", "PostgreSQL", database_connections_ended),
    Fault("Prefect server killed", "Prefect server", killed(0, 0)),
    Fault("Prefect server away", "Prefect server", away(3, 10)),
    Fault("Prefect server paused", "Prefect server", paused(4, 10)),
    Fault("Redis killed", "Redis", killed(0, 0)),
    Fault("Redis away", "Redis", away(3, 10)),
    Fault("Redis paused", "Redis", paused(4, 10)),
    Fault("facade killed", "Facade", killed(0, 0)),
    Fault("facade paused", "Facade", paused(2, 6)),
    Fault("mail server away", "mail server", mail_away),
    Fault("mail server's answers lost", "mail server", mail_answers_lost),
    Fault("provider in trouble", "provider", provider_in_trouble),
    Fault("disk full", "disk", disk_full),
    Fault("processors busy", "processors", processors_busy),
    Fault("run killed", "host", run_killed),
    Fault("run paused", "host", run_paused),
    Fault("zygote killed", "host", zygote_killed),
    Fault("guard killed", "host", guard_killed),
    Fault("zygote stalled", "host", zygote_stalled),
    Fault("worker killed", "host", worker_killed),
    Fault("worker stopped in order", "host", worker_stopped),
    Fault("worker stalled", "host", worker_stalled),
    Fault("host paused", "host", host_paused),
    Fault("host killed", "host", host_killed),
    Fault("cable cut", "host", cable_cut),
    Fault("cable cut shortly", "host", cable_cut_shortly),
    Fault("connections reset", "host", connections_reset),
    Fault("connections forgotten", "host", connections_forgotten),
    Fault("clock two minutes apart", "host", clock_apart),
)


def _run(stage: Stage, *statements: str) -> None:
    """As the superuser, once a server that was killed takes connections again."""
    engine = create_engine(stage.settings.database(), isolation_level="AUTOCOMMIT")
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.execute(text(statement))
        except OperationalError:
            assert time.monotonic() < deadline
            time.sleep(_RETRY_SECONDS)
        else:
            engine.dispose()
            return


def _one_of(stage: Stage, processes: Sequence[psutil.Process]) -> psutil.Process | None:
    return stage.random.choice(processes) if processes else None


def _send(process: psutil.Process | None, signum: Signals) -> None:
    if process is not None and process.is_running():
        process.send_signal(signum)
