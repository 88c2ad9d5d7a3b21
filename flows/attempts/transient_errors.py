"""Errors that are worth a retry; the one module that names the exceptions of Prefect's client."""

from http import HTTPStatus
from typing import Final

import httpx

from autoindex.errors import TransientError
from autoindex.storage.postgres.transient import UNAVAILABLE

PrefectError = httpx.HTTPError
"""A call of Prefect's client has failed: without an answer, or with one that is an error."""
PrefectStatusError = httpx.HTTPStatusError
"""Prefect's server has answered with an error."""
NO_ANSWER: Final = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
)
"""Prefect's server did not answer. Not a wrong address or header: the same call fails again."""

_LOGIN_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_TRANSIENT: Final = (TransientError, *UNAVAILABLE, *NO_ANSWER, ConnectionError, TimeoutError)


def is_transient(error: object) -> bool:
    """Whether the same call is worth a retry."""
    return isinstance(error, _TRANSIENT) or _is_server_error(error)


def is_login_refused(error: Exception) -> bool:
    """Whether Prefect, which is there, refuses who asks."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code in _LOGIN_REFUSED


def unavailable_part(error: Exception) -> str | None:
    """Which part of the system an error says is unavailable; None for another kind of error."""
    if isinstance(error, UNAVAILABLE):
        return "the database"
    if isinstance(error, NO_ANSWER) or _is_server_error(error):
        return "Prefect"
    return None


def _is_server_error(error: object) -> bool:
    """Prefect answers 500 while its database is unavailable, a proxy 502 or 503 without Prefect."""
    return isinstance(error, PrefectStatusError) and error.response.is_server_error
