"""Errors that are likely to pass by themselves."""

from typing import Final

import httpx

from autoindex.errors import TransientError
from autoindex.storage.postgres.transient import UNAVAILABLE

_PASSING: Final = (
    TransientError,
    *UNAVAILABLE,
    httpx.TransportError,
    ConnectionError,
    TimeoutError,
)
# What a wrong address or header raises before anything is sent: the same fails again.
_OURS: Final = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)


def is_passing(error: object) -> bool:
    """Whether the same is worth another try."""
    return (isinstance(error, _PASSING) and not isinstance(error, _OURS)) or _is_servers(error)


def part_away(error: Exception) -> str | None:
    """Which part of the system an error says is away; None for another kind of error."""
    if isinstance(error, UNAVAILABLE):
        return "the database"
    if isinstance(error, httpx.TransportError | httpx.HTTPStatusError) and is_passing(error):
        return "Prefect"
    return None


def _is_servers(error: object) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.is_server_error
