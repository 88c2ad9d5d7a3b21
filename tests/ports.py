"""Ports that nobody listens on."""

from benchmarks.ports import free_ports


def free_port() -> int:
    """A free port of the loopback address."""
    (port,) = free_ports(1)
    return port
