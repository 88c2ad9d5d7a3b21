"""The ports that a stack listens on."""

import errno
import socket
from typing import Final

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings

FIELDS: Final = ("api_port", "prefect_port", "sandbox_port")
_LOOPBACK: Final = "127.0.0.1"


def check(settings: Settings) -> None:
    """Raise `ConfigurationError` if a part of the stack could not listen."""
    ports: dict[int, str] = {}
    for field in FIELDS if settings.sandbox else FIELDS[:-1]:
        port, variable = getattr(settings, field), f"AUTOINDEX_{field.upper()}"
        if port in ports:
            raise ConfigurationError(f"{ports[port]} and {variable} are both {port}")
        if not is_free(port, host(field, settings)):
            raise ConfigurationError(
                f"port {port} is taken: stop what listens there, or set {variable} to another one"
            )
        ports[port] = variable


def host(field: str, settings: Settings) -> str:
    """The address that the part with this port listens on."""
    return settings.api_host if field == "api_port" else _LOOPBACK


def free_or_next(field: str, settings: Settings) -> int:
    """The port that a field asks for, or the next free one; steps of ten keep the three apart."""
    first: int = getattr(settings, field)
    address = host(field, settings)
    return next(port for port in range(first, 65_536, 10) if is_free(port, address))


def is_free(port: int, host: str) -> bool:
    """Whether nothing listens on a port of an address.

    Raises `ConfigurationError` where this machine has no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise ConfigurationError(
            f"can't listen on port {port} of {host}: {error.strerror}; "
            "see AUTOINDEX_API_HOST and the settings that end in _PORT"
        ) from error
    return True
