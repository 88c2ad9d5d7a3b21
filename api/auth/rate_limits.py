"""Rate limits by user: a moving window of one minute, in process or in Redis."""

import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
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

    async def left(self, item: RateLimitItem, user: str) -> Allowance:
        """What is left without another request."""
        now = self._clock()
        admitted = self._current(item, user, now)
        oldest = admitted[0] if admitted else now
        seconds = max(1, math.ceil(oldest + _WINDOW_SECONDS - now))
        return Allowance(item.amount, item.amount - len(admitted), seconds)

    async def hit(self, item: RateLimitItem, user: str) -> Allowance:
        """Count a request; raises `TooManyRequests`."""
        now = self._clock()
        admitted = self._current(item, user, now)
        if len(admitted) >= item.amount:
            raise TooManyRequests(item.amount, (await self.left(item, user)).reset_seconds)
        admitted.append(now)
        self._admitted[item.namespace, user] = admitted  # for another minute
        return await self.left(item, user)

    def _current(self, item: RateLimitItem, user: str, now: float) -> deque[float]:
        admitted = self._admitted.get((item.namespace, user), deque())
        while admitted and admitted[0] <= now - _WINDOW_SECONDS:
            admitted.popleft()
        return admitted


class SharedWindows:
    """The windows of all facades, in Redis."""

    def __init__(self, pool: ConnectionPool) -> None:
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            wrap_exceptions=True,
            connection_pool=pool,  # type: ignore[arg-type]
        )
        self._limiter = MovingWindowRateLimiter(storage)

    async def left(self, item: RateLimitItem, user: str) -> Allowance:
        """As `Windows.left`; raises `StorageError`."""
        window = await self._limiter.get_window_stats(item, user)
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        return Allowance(item.amount, window.remaining, seconds)

    async def hit(self, item: RateLimitItem, user: str) -> Allowance:
        """As `Windows.hit`; raises `StorageError`."""
        admitted = await self._limiter.hit(item, user)
        left = await self.left(item, user)
        if not admitted:
            raise TooManyRequests(item.amount, left.reset_seconds)
        return left


_Count = Callable[[Windows | SharedWindows], Awaitable[Allowance]]


class RateLimits:
    """Counts requests by user; one that starts a new task also counts against a lower limit.

    Beyond that limit, requests that may join a task are counted on their own, so that a flood of
    them leaves room for other requests.
    """

    def __init__(self, settings: Settings) -> None:
        self._requests = RateLimitItemPerMinute(settings.requests_per_minute, namespace="requests")
        self._tasks = RateLimitItemPerMinute(settings.tasks_per_minute, namespace="tasks")
        self._joins = RateLimitItemPerMinute(settings.requests_per_minute, namespace="joins")
        self._here = Windows()
        self._pool = _pool(settings)
        self._shared = None if self._pool is None else SharedWindows(self._pool)
        self._shared_again_at = 0.0

    async def admit(self, user: str, *, starts_task: bool) -> Allowance:
        """Count a request, and return what is left; raises `TooManyRequests`.

        A request that may start a task gets the lower of its two allowances.
        """
        if not starts_task:
            return await self._hit(self._requests, user)
        starts = await self._left(self._tasks, user)
        if not starts.remaining:
            await self._hit(self._joins, user)
            return starts
        left = await self._hit(self._requests, user)
        return left if left.remaining < starts.remaining else starts

    async def start(self, user: str) -> Allowance:
        """Count the start of a new task, and return what is left; raises `TooManyRequests`."""
        return await self._hit(self._tasks, user)

    async def aclose(self) -> None:
        """Close connections."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _hit(self, item: RateLimitItem, user: str) -> Allowance:
        return await self._count(lambda windows: windows.hit(item, user))

    async def _left(self, item: RateLimitItem, user: str) -> Allowance:
        return await self._count(lambda windows: windows.left(item, user))

    async def _count(self, count: _Count) -> Allowance:
        if self._shared is not None and time.monotonic() >= self._shared_again_at:
            try:
                return await count(self._shared)
            except StorageError as problem:
                # Each process counts alone for a while, rather than refuse or slow every request.
                log.warning("rate limits are counted in process: Redis fails", exc_info=problem)
                self._shared_again_at = time.monotonic() + _WITHOUT_REDIS_SECONDS
        return await count(self._here)


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
