"""Two Prefect API servers behind a balancer, their services apart, as the operators' guide says."""

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

from benchmarks.ports import free_ports
from tests.end_to_end.installation import Installation, Load, is_ok, until
from tests.redis_server import redis_server
from tests.relay import Relay
from worker.prefect_yaml import PROJECT

TASKS_UNDER_WAY = 8
GUIDE = PROJECT / "docs" / "operations" / "several-prefect-servers.md"


class Balancer(Relay):
    """Gives each connection to the next server that takes one."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turn = count()
        super().__init__(("127.0.0.1", ports[0]))

    def _connect(self) -> socket.socket:
        first = next(self._turn)
        for number in range(len(self._ports)):
            with suppress(ConnectionRefusedError):
                port = self._ports[(first + number) % len(self._ports)]
                return socket.create_connection(("127.0.0.1", port))
        raise ConnectionRefusedError


def variables(redis: str) -> dict[str, str]:
    """Those of the guide, with this Redis."""
    block = GUIDE.read_text().partition("```\n")[2].partition("```")[0]
    pairs = (line.removeprefix("export ").partition("=") for line in block.splitlines())
    return {name: value.replace("REDIS:6379", redis) for name, _, value in pairs}


def test_one_of_two_is_killed_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    with ExitStack() as parts:
        broker = parts.enter_context(Relay(parts.enter_context(redis_server())))
        ports = free_ports(2)
        balancer = parts.enter_context(Balancer(ports))
        shared = variables(f"127.0.0.1:{broker.port}")
        url = f"http://127.0.0.1:{balancer.port}/api"
        there = Installation(tmp_path, parts, shared | {"PREFECT_API_URL": url})
        there.command(PROJECT, "prefect", "server", "database", "upgrade", "-y")
        servers = [there.prefect_server(f"prefect {p}", p, "--no-services") for p in ports]
        there.start("services", PROJECT, "prefect", "server", "services", "start")
        there.set_up(PROJECT)
        there.worker(PROJECT)
        there.facade(PROJECT, 0)
        until(lambda: is_ok(f"http://127.0.0.1:{there.ports[0]}/ready"))
        load = Load(there)
        load.run("refresh", {"mode": "full"})
        with load:
            until(lambda: len(load.accepted) >= TASKS_UNDER_WAY)
            os.killpg(servers[0].pid, signal.SIGKILL)
            accepted = len(load.accepted)
            until(lambda: len(load.accepted) >= accepted + TASKS_UNDER_WAY)
        ends = load.ended()
    assert {how.split()[1] for how in ends} == {"success"}, ends
    assert sum(ends.values()) == len(set(load.accepted))
    refused = {how for how in load.answers if how not in ("200", "202")}
    assert refused <= {"503, told to try again"}, load.answers
