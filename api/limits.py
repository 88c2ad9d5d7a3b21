"""How many requests a user may send: a moving window of a minute, in process or in Redis."""

import logging
import math
import time
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, MovingWindowSupport, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from autoindex.settings import Settings

_REDIS_SECONDS: Final = 0.5

log = logging.getLogger("autoindex.api")


class TooManyRequests(Exception):
    """The user has used up the window; the next request fits after `retry_after_seconds`."""

    def __init__(self, limit: int, retry_after_seconds: int) -> None:
        super().__init__(
            f"more than {limit} requests of this kind within a minute; "
            f"the next one fits in {retry_after_seconds} s"
        )
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class Limits:
    """Counts requests by user; those that start a task count twice, once in a tighter window."""

    def __init__(self, settings: Settings) -> None:
        self._requests = RateLimitItemPerMinute(settings.requests_per_minute, namespace="requests")
        self._tasks = RateLimitItemPerMinute(settings.tasks_per_minute, namespace="tasks")
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._shared = _shared(settings)

    async def admit(self, user: str, *, starts_task: bool) -> None:
        """Count a request; raises `TooManyRequests` for one too many."""
        if starts_task:
            await self._hit(self._tasks, user)
        await self._hit(self._requests, user)

    async def _hit(self, item: RateLimitItem, user: str) -> None:
        if self._shared is not None:
            try:
                await _hit(self._shared, item, user)
            except StorageError as problem:
                # Without Redis each facade counts alone, which is better than refusing everybody.
                log.warning("rate limits are counted in process: Redis fails", exc_info=problem)
            else:
                return
        await _hit(self._here, item, user)


async def _hit(limiter: MovingWindowRateLimiter, item: RateLimitItem, user: str) -> None:
    if await limiter.hit(item, user):
        return
    window = await limiter.get_window_stats(item, user)
    raise TooManyRequests(item.amount, max(1, math.ceil(window.reset_time - time.time())))


def _shared(settings: Settings) -> MovingWindowRateLimiter | None:
    if settings.redis_url is None:
        return None
    url = settings.redis_url.get_secret_value().replace("unix://", "redis+unix://", 1)
    storage = storage_from_string(
        f"async+{url}",
        implementation="redispy",
        wrap_exceptions=True,
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
    )
    if not isinstance(storage, Storage) or not isinstance(storage, MovingWindowSupport):
        raise TypeError(f"{type(storage).__name__} has no moving window")
    return MovingWindowRateLimiter(storage)
