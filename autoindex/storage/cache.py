"""Cached values: bytes under a key for a while, in this process or in a Redis that all share.

A key carries the version of the data its value was made from (`cache_keys`), so a value can be old
but never wrong; evicting only frees room.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final, Protocol, TypeVar

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from autoindex.settings import Settings
from autoindex.storage import cache_keys

logger = logging.getLogger(__name__)
T = TypeVar("T")

_LARGEST_BYTES: Final = 64 * 1024 * 1024
_REDIS_SECONDS: Final = 0.5
# While Redis is away nobody waits for it but one caller in this many seconds.
_LEAVE_ALONE_SECONDS: Final = 5.0
_KEYS_A_SCAN: Final = 1_000


class Cache(Protocol):
    """What can be asked of a cache; none of it ever fails."""

    def get(self, key: str) -> bytes | None:
        """The value; None where there is none, or none any more."""
        ...

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value for a while; a value that cannot be kept is forgotten."""
        ...

    def evict_superseded(self, name: str, version: int) -> int:
        """Drop the values of `name` made from data older than `version`; how many."""
        ...


class MemoryCache:
    """A cache of this process: the values used least recently give way. Safe among threads.

    `clock` gives seconds that never go back.
    """

    def __init__(
        self, largest_bytes: int = _LARGEST_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._largest_bytes = largest_bytes
        self._clock = clock
        self._lock = Lock()
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> bytes | None:
        """The value; None where there is none, or none any more."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            value, until = found
            if self._clock() >= until:
                self._drop(key)
                return None
            self._values.move_to_end(key)
            return value

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value for a while; one larger than the whole cache is not kept."""
        with self._lock:
            self._drop(key)
            if ttl_seconds <= 0 or _size(key, value) > self._largest_bytes:
                return
            self._values[key] = (value, self._clock() + ttl_seconds)
            self._bytes += _size(key, value)
            while self._bytes > self._largest_bytes:
                self._drop(next(iter(self._values)))

    def evict_superseded(self, name: str, version: int) -> int:
        """Drop the values of `name` made from data older than `version`; how many."""
        with self._lock:
            superseded = [key for key in self._values if _is_older(key, name, version)]
            for key in superseded:
                self._drop(key)
            return len(superseded)

    def _drop(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._bytes -= _size(key, found[0])


class RedisCache:
    """A cache in Redis. While Redis is away every value is missing, and the log says so once.

    `clock` gives seconds that never go back.
    """

    def __init__(self, client: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._away_until: float | None = None

    def get(self, key: str) -> bytes | None:
        """The value; None where there is none, none any more, or no Redis."""
        return self._asked(lambda: self._client.get(key), None)  # type: ignore[return-value]

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value for a while."""
        milliseconds = int(ttl_seconds * 1_000)
        if milliseconds > 0:
            self._asked(lambda: self._client.set(key, value, px=milliseconds), None)

    def evict_superseded(self, name: str, version: int) -> int:
        """Drop the values of `name` made from data older than `version`; how many."""
        return self._asked(lambda: self._evict(name, version), 0)

    def _evict(self, name: str, version: int) -> int:
        pattern, evicted = f"{cache_keys.prefix(name)}*", 0
        batch: list[bytes] = []
        for key in self._client.scan_iter(pattern, count=_KEYS_A_SCAN):
            if _is_older(key.decode("utf-8", "replace"), name, version):
                batch.append(key)
            if len(batch) == _KEYS_A_SCAN:
                evicted += int(self._client.unlink(*batch))
                batch.clear()
        return evicted + (int(self._client.unlink(*batch)) if batch else 0)

    def _asked(self, call: Callable[[], T], otherwise: T) -> T:
        if self._away_until is not None and self._clock() < self._away_until:
            return otherwise
        try:
            answer = call()
        except (RedisError, OSError) as error:
            if self._away_until is None:
                logger.warning("Redis does not answer, going on without a cache: %s", error)
            self._away_until = self._clock() + _LEAVE_ALONE_SECONDS
            return otherwise
        if self._away_until is not None:
            logger.info("Redis answers again")
            self._away_until = None
        return answer


def from_settings(settings: Settings) -> Cache:
    """The cache the settings ask for: Redis where one is named, else this process's memory."""
    if settings.redis_url is None:
        return MemoryCache()
    client = Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
        # The client's own retries would wait for seconds.
        retry=Retry(NoBackoff(), 0),
    )
    return RedisCache(client)


def _is_older(key: str, name: str, version: int) -> bool:
    written = cache_keys.version_of(key, name)
    return written is not None and written < version


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value)
