"""A run's requests to Prefect, which outlast a server that is away."""

import time
from collections.abc import Callable
from typing import Final

import httpx

# A server that is restarted is away for longer; a run waits for it rather than dies.
_SECONDS: Final = 600.0
_PAUSE_SECONDS: Final = 1.0


def patient(
    send: Callable[[httpx.Request], httpx.Response],
) -> Callable[[httpx.Request], httpx.Response]:
    """Have `send` try again each second, for ten minutes, where no connection is to be had.

    Prefect's client waits twice as long each time, so that it looks again minutes after the server
    is back; before its first answer it does not try again at all.
    """

    def sent(request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                return send(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)

    return sent
