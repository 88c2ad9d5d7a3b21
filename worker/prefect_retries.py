"""A run's requests to Prefect, which outlast a server that is away, or whose database is."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import httpx

# Longer than the restart of a server, or of its host, takes.
_SECONDS: Final = 600.0
_PAUSE_SECONDS: Final = 1.0
# What a proxy says that finds no server behind it.
_NOBODY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE})
# While its database is away Prefect answers 500 to everything, and a few times more from each
# connection that it had. One that it answers while it is ready is a defect.
_ERRORS_WHILE_READY: Final = 5


class Patience:
    """Sends again each second what finds no server, for ten minutes of one outage.

    Prefect's client waits twice as long each time, so that it would look again minutes after the
    server is back; where it has never been answered it does not try again at all. And it takes a
    500 for the last word. `ready` is a question to which only a server with a database says yes.
    """

    def __init__(
        self, send: Callable[[httpx.Request], httpx.Response], ready: httpx.Request
    ) -> None:
        self._send = send
        self._ready = ready
        self._away_since: float | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer; raises what `send` raises."""
        errors = 0
        while True:
            try:
                answer = self._send(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if self._is_at_its_end():
                    raise
            else:
                if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
                    errors += self._is_ready()
                if _stands(answer, errors):
                    self._away_since = None
                    return answer
                if "retry-after" in answer.headers or self._is_at_its_end():
                    return answer
                answer.close()
            time.sleep(_PAUSE_SECONDS)

    def _is_ready(self) -> bool:
        try:
            answer = self._send(self._ready)
        except httpx.TransportError:
            return False
        answer.close()
        return answer.is_success

    def _is_at_its_end(self) -> bool:
        now = time.monotonic()
        self._away_since = self._away_since or now
        return now - self._away_since > _SECONDS


def _stands(answer: httpx.Response, errors: int) -> bool:
    """Whether a server that has its database says so; `errors` are its 500s while it was ready."""
    if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors > _ERRORS_WHILE_READY
    return answer.status_code not in _NOBODY
