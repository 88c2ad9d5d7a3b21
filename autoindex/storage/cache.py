"""Cached values: bytes under a key for a while, in a Redis that all processes share.

A key carries the version of the data its value was made from (`cache_keys`), so a value can be old
but never wrong; evicting only frees room.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from autoindex.settings import Settings
from autoindex.storage import cache_keys

logger = logging.getLogger(__name__)
T = TypeVar("T")

_REDIS_SECONDS: Final = 0.5
# While Redis is away only one caller in this many seconds waits for it.
_LEAVE_ALONE_SECONDS: Final = 5.0
_KEYS_A_SCAN: Final = 1_000


class Cache:
    """A cache in Redis. While Redis is away every value is missing, and the log says so once.

    Without a client it is always empty. `clock` gives seconds that never go back.
    """

    def __init__(self, client: Redis | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._away_until: float | None = None

    def get(self, key: str) -> bytes | None:
        """The value; None where there is none, none any more, or no Redis."""
        return self._asked(lambda client: client.get(key), None)  # type: ignore[return-value]

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value for a while."""
        milliseconds = int(ttl_seconds * 1_000)
        if milliseconds > 0:
            self._asked(lambda client: client.set(key, value, px=milliseconds), None)

    def evict_superseded(self, name: str, version: int) -> int:
        """Drop the values of `name` made from data older than `version`; how many."""
        return self._asked(lambda client: _evict(client, name, version), 0)

    def _asked(self, call: Callable[[Redis], T], otherwise: T) -> T:
        is_away = self._away_until is not None and self._clock() < self._away_until
        if self._client is None or is_away:
            return otherwise
        try:
            answer = call(self._client)
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
    """The cache in the Redis that the settings name, or one that is always empty."""
    if settings.redis_url is None:
        return Cache(None)
    client = Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
        # The client's own retries would wait for seconds.
        retry=Retry(NoBackoff(), 0),
    )
    return Cache(client)


def _evict(client: Redis, name: str, version: int) -> int:
    pattern, evicted = f"{cache_keys.prefix(name)}*", 0
    batch: list[bytes] = []
    for key in client.scan_iter(pattern, count=_KEYS_A_SCAN):
        if _is_older(key.decode("utf-8", "replace"), name, version):
            batch.append(key)
        if len(batch) == _KEYS_A_SCAN:
            evicted += int(client.unlink(*batch))
            batch.clear()
    return evicted + (int(client.unlink(*batch)) if batch else 0)


def _is_older(key: str, name: str, version: int) -> bool:
    written = cache_keys.version_of(key, name)
    return written is not None and written < version
