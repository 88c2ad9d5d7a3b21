"""Machines for workers, as far as the network is concerned: their cables can be cut.

Where we may make them each is a network namespace with a cable of its own to the stack's machine:
the kernels at both ends see what they see of a real cut. Elsewhere the bytes go through relays.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import psutil

from deployments.local.child import Child
from deployments.local.stack import Stack
from tests.end_to_end.chaos.parts import Part, children
from tests.relay import Relay, Target
from worker import POOL
from worker.prefect_yaml import PROJECT

_WORKER: Final = ("-m", "prefect", "worker", "start", "--pool", POOL, "--type", "autoindex")
# Meant for tests of networks, so that nobody's is hidden: RFC 2544.
_NETWORK: Final = "198.18"
_NOBODY: Final = "02:00:00:00:00:99"


class Network(Protocol):
    """What is between a host and the stack's machine."""

    name: str
    enter: tuple[str, ...]
    """The words before a command that runs behind it."""

    def address(self, part: str) -> tuple[str, int]:
        """Where a part is found from behind it."""
        ...

    def cut(self) -> None:
        """Let nothing through; nobody is told."""
        ...

    def heal(self) -> None:
        """Let everything through again."""
        ...

    def forget(self) -> None:
        """Lose the connections that there are, without telling; new ones are let through."""
        ...

    def reset(self) -> None:
        """End the connections that there are; both ends are told."""
        ...

    def close(self) -> None:
        """Remove it."""
        ...


class Relays:
    """A relay for each part, on the loopback address."""

    enter = ()

    def __init__(self, number: int, targets: Mapping[str, Target]) -> None:
        self.name = f"relays {number}"
        self._relays = {part: Relay(target) for part, target in targets.items()}

    def address(self, part: str) -> tuple[str, int]:
        return "127.0.0.1", self._relays[part].port

    def cut(self) -> None:
        for relay in self._relays.values():
            relay.cut()

    def heal(self) -> None:
        for relay in self._relays.values():
            relay.heal()

    def forget(self) -> None:
        for relay in self._relays.values():
            relay.forget()

    def reset(self) -> None:
        for relay in self._relays.values():
            relay.reset()

    def close(self) -> None:
        for relay in self._relays.values():
            relay.close()


class Namespace:
    """A network namespace: PostgreSQL is reached as it is, what listens on loopback by relays."""

    def __init__(self, number: int, targets: Mapping[str, Target]) -> None:
        self.name = f"aix{os.getpid()}-{number}"
        self.gateway = _free_gateway()
        self._cable = f"aix{os.getpid() % 10**8}{number}"
        self.enter = ("nsenter", f"--net=/run/netns/{self.name}")
        self._last = 2
        self._make()
        self._relays = {part: Relay(target, host=self.gateway) for part, target in targets.items()}

    def _make(self) -> None:
        _ip(f"netns add {self.name}")
        _ip(f"link add {self._cable} type veth peer name eth0 netns {self.name}")
        _ip(f"address add {self.gateway}/24 dev {self._cable}")
        _ip(f"link set {self._cable} up")
        self._inside(f"address add {self._own}/24 dev eth0")
        for device in ("lo", "eth0"):
            self._inside(f"link set {device} up")

    @property
    def _own(self) -> str:
        return self.gateway.rpartition(".")[0] + f".{self._last}"

    def address(self, part: str) -> tuple[str, int]:
        return self.gateway, self._relays[part].port if part in self._relays else 5432

    def cut(self) -> None:
        # What is sent goes to a machine that is not there.
        nobody = f"lladdr {_NOBODY} nud permanent"
        _ip(f"neighbour replace {self._own} {nobody} dev {self._cable}")
        self._inside(f"neighbour replace {self.gateway} {nobody} dev eth0")

    def heal(self) -> None:
        # Where it has not been cut, or another address was given meanwhile, there is none.
        with suppress(subprocess.CalledProcessError):
            _ip(f"neighbour del {self._own} dev {self._cable}")
        with suppress(subprocess.CalledProcessError):
            self._inside(f"neighbour del {self.gateway} dev eth0")

    def forget(self) -> None:
        # Another address, as after a failover: what is on its way to the old one reaches nobody.
        self._inside(f"address del {self._own}/24 dev eth0")
        self._last = self._last % 250 + 2
        self._inside(f"address add {self._own}/24 dev eth0")

    def reset(self) -> None:
        subprocess.run([*self.enter, "ss", "--kill"], check=True, capture_output=True)

    def close(self) -> None:
        for relay in self._relays.values():
            relay.close()
        _ip(f"link del {self._cable}")
        _ip(f"netns del {self.name}")

    def _inside(self, words: str) -> None:
        _ip(f"-netns {self.name} {words}")


class Host:
    """A worker behind a network of its own."""

    def __init__(self, number: int, network: Network, stack: Stack) -> None:
        self.name = f"host {number}"
        self.network = network
        database = f"postgresql://postgres@{_joined(network.address('database'))}/autoindex"
        mail, port = network.address("mail")
        there = {
            "AUTOINDEX_DATABASE_URL": database,
            "AUTOINDEX_REDIS_URL": f"redis://{_joined(network.address('Redis'))}/0",
            "AUTOINDEX_TWELVE_DATA_BASE_URL": f"http://{_joined(network.address('sandbox'))}",
            "AUTOINDEX_SMTP_HOST": mail,
            "AUTOINDEX_SMTP_PORT": str(port),
            "PREFECT_API_URL": f"http://{_joined(network.address('Prefect'))}/api",
        }
        child = Child(
            f"Worker {number}",
            [*network.enter, sys.executable, *_WORKER],
            log=stack.settings.data_dir / "logs" / f"worker-{number}.log",
            env=stack.env | there,
            cwd=PROJECT,
        )
        self.worker = Part(child)

    def __str__(self) -> str:
        return self.name

    @property
    def guards(self) -> list[psutil.Process]:
        """What its worker starts its warm process by; none where it is being started."""
        with suppress(psutil.NoSuchProcess):
            return children(psutil.Process(self.worker.child.pid))
        return []

    @property
    def zygotes(self) -> list[psutil.Process]:
        """Its worker's warm process."""
        return [zygote for guard in self.guards for zygote in children(guard)]

    @property
    def runs(self) -> list[psutil.Process]:
        """The processes of its running tasks."""
        return [run for zygote in self.zygotes for run in children(zygote)]

    def close(self) -> None:
        """Stop its worker."""
        self.worker.resume()
        self.worker.stop(seconds=20)


def networks(count: int, targets: Mapping[str, Target]) -> list[Network]:
    """So many networks: namespaces where we may make them, relays elsewhere."""
    numbers = range(1, count + 1)
    if not _may_make_namespaces():
        return [Relays(number, targets) for number in numbers]
    _remove_leftovers()
    direct = {part: target for part, target in targets.items() if part != "database"}
    return [Namespace(number, direct) for number in numbers]


def _may_make_namespaces() -> bool:
    """Root may, but not in every container; and `ip` may be missing."""
    name = f"aix{os.getpid()}-0"
    try:
        _ip(f"netns add {name}")
        _ip(f"netns del {name}")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _remove_leftovers() -> None:
    """The namespaces of storms that were killed."""
    folder = Path("/run/netns")
    for path in folder.glob("aix*-*") if folder.exists() else ():
        if not psutil.pid_exists(int(path.name[3:].partition("-")[0])):
            _ip(f"netns del {path.name}")


def _free_gateway() -> str:
    taken = _ip("-oneline address")
    gateways = (f"{_NETWORK}.{number}.1" for number in range(1, 255))
    return next(one for one in gateways if f" {one}/" not in taken)


def _joined(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def _ip(words: str) -> str:
    done = subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True)
    return done.stdout
