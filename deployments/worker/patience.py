"""A run's requests to Prefect, which outlast a server that is away."""

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


class Patience:
    """Sends again each second what finds no server, for ten minutes of one outage.

    Prefect's client waits twice as long each time, so that it would look again minutes after the
    server is back; where it has never been answered it does not try again at all.
    """

    def __init__(self, send: Callable[[httpx.Request], httpx.Response]) -> None:
        self._send = send
        self._away_since: float | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer; raises what `send` raises."""
        while True:
            try:
                answer = self._send(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if self._is_at_its_end():
                    raise
            else:
                if answer.status_code not in _NOBODY:
                    self._away_since = None
                    return answer
                if "retry-after" in answer.headers or self._is_at_its_end():
                    return answer
                answer.close()
            time.sleep(_PAUSE_SECONDS)

    def _is_at_its_end(self) -> bool:
        now = time.monotonic()
        self._away_since = self._away_since or now
        return now - self._away_since > _SECONDS
