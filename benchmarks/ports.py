"""Ports that nobody listens on, nor will by chance."""

import secrets
import socket
from typing import Final

# Below those that Linux gives to connections, which come and go while a server still starts.
_PORTS: Final = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """So many free ports of the loopback address, all different.

    No other process is given them by this function until this one has ended.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = secrets.choice(_PORTS)
        if _reserve(port):
            ports.append(port)
    return ports


def _reserve(port: int) -> bool:
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0autoindex-port-{port}")
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        mark.close()
        return False
    mark.detach()  # the system closes it, and frees its name, at the process's end
    return True
