"""Ports for servers that tests start: nobody else comes by them meanwhile."""

import subprocess
import sys
from pathlib import Path

from benchmarks import ports

CODE = "import sys; from benchmarks import ports; print(ports._reserve(int(sys.argv[1])))"


def reserved_elsewhere(port: int) -> str:
    words = [sys.executable, "-c", CODE, str(port)]
    project = Path(__file__).resolve().parents[1]
    return subprocess.check_output(words, cwd=project, text=True).strip()


def test_a_port_is_given_to_one_process_until_it_ends() -> None:
    (port,) = ports.free_ports(1)
    assert reserved_elsewhere(port) == "False"
    other = next(one for one in ports._PORTS if reserved_elsewhere(one) == "True")
    assert ports._reserve(other)


def test_a_port_is_none_that_the_system_gives_to_a_connection() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert ports.free_ports(1)[0] not in range(int(given[0]), int(given[1]) + 1)
