"""What a worker goes on asking for while Prefect or the database is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx

from worker.lease_manager import AWAY

_log = logging.getLogger("prefect.workers.autoindex")

_AGAIN_SECONDS: Final = 2.0

R = TypeVar("R")


async def until_back(ask: Callable[[], Awaitable[R]], otherwise: str) -> R:
    """What `ask` gives, as often as it takes; `otherwise` is what the log says meanwhile."""
    while True:
        try:
            return await ask()
        except (httpx.HTTPError, *AWAY) as error:
            _log.warning("%s: %s", otherwise, error)
            await asyncio.sleep(_AGAIN_SECONDS)
