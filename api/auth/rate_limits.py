"""Rate limits by user: a moving window of one minute, in process or in Redis."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cachetools import TTLCache
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from autoindex.settings import Settings

_WINDOW_SECONDS: Final = 60
_MOST_WINDOWS: Final = 100_000
_REDIS_SECONDS: Final = 0.5
_WITHOUT_REDIS_SECONDS: Final = 10.0

log = logging.getLogger("autoindex.api")


class TooManyRequests(Exception):
    """The user has reached the limit; the next request is allowed after `retry_after_seconds`."""

    def __init__(self, limit: int, retry_after_seconds: int) -> None:
        super().__init__(
            f"more than {limit} requests of this kind within a minute; "
            f"the next one fits in {retry_after_seconds} s"
        )
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many requests of `limit` are left; one more is allowed after `reset_seconds`."""

    limit: int
    remaining: int
    reset_seconds: int


class Windows:
    """The windows of this process; a user who was quiet for a minute is forgotten.

    The storage in process of `limits` looks through all users, in threads, at each request.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._admitted: TTLCache[tuple[str, str], deque[float]] = TTLCache(
            _MOST_WINDOWS, _WINDOW_SECONDS, clock
        )

    def __len__(self) -> int:
        """How many windows are kept."""
        return len(self._admitted)

    def hit(self, item: RateLimitItem, user: str) -> Allowance:
        """Count a request; raises `TooManyRequests`."""
        now, key = self._clock(), (item.namespace, user)
        admitted = self._admitted.get(key, deque())
        while admitted and admitted[0] <= now - _WINDOW_SECONDS:
            admitted.popleft()
        is_full = len(admitted) >= item.amount
        if not is_full:
            admitted.append(now)
            self._admitted[key] = admitted  # for another minute
        seconds = max(1, math.ceil(admitted[0] + _WINDOW_SECONDS - now))
        if is_full:
            raise TooManyRequests(item.amount, seconds)
        return Allowance(item.amount, item.amount - len(admitted), seconds)


class RateLimits:
    """Counts requests by user; one that starts a task also counts against a lower limit."""

    def __init__(self, settings: Settings) -> None:
        self._requests = RateLimitItemPerMinute(settings.requests_per_minute, namespace="requests")
        self._tasks = RateLimitItemPerMinute(settings.tasks_per_minute, namespace="tasks")
        self._here = Windows()
        self._pool = _pool(settings)
        self._shared = None if self._pool is None else _limiter(self._pool)
        self._shared_again_at = 0.0

    async def admit(self, user: str, *, starts_task: bool) -> Allowance:
        """Count a request, and return what is left; raises `TooManyRequests`.

        A request that starts a task gets the lower of its two allowances.
        """
        tighter = await self._hit(self._tasks, user) if starts_task else None
        left = await self._hit(self._requests, user)
        return left if tighter is None or left.remaining < tighter.remaining else tighter

    async def aclose(self) -> None:
        """Close connections."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _hit(self, item: RateLimitItem, user: str) -> Allowance:
        if self._shared is not None and time.monotonic() >= self._shared_again_at:
            try:
                return await _hit(self._shared, item, user)
            except StorageError as problem:
                # Each process counts alone for a while, rather than refuse or slow every request.
                log.warning("rate limits are counted in process: Redis fails", exc_info=problem)
                self._shared_again_at = time.monotonic() + _WITHOUT_REDIS_SECONDS
        return self._here.hit(item, user)


async def _hit(limiter: MovingWindowRateLimiter, item: RateLimitItem, user: str) -> Allowance:
    admitted = await limiter.hit(item, user)
    window = await limiter.get_window_stats(item, user)
    seconds = max(1, math.ceil(window.reset_time - time.time()))
    if not admitted:
        raise TooManyRequests(item.amount, seconds)
    return Allowance(item.amount, window.remaining, seconds)


def _pool(settings: Settings) -> ConnectionPool | None:
    if settings.redis_url is None:
        return None
    return ConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=50,
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
        # The client's own retries would wait for seconds.
        retry=Retry(NoBackoff(), 0),
    )


def _limiter(pool: ConnectionPool) -> MovingWindowRateLimiter:
    storage = RedisStorage(
        "async+redis://",
        implementation="redispy",
        wrap_exceptions=True,
        connection_pool=pool,  # type: ignore[arg-type]
    )
    return MovingWindowRateLimiter(storage)
