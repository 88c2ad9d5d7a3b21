"""A cache of index pages: in Redis where one is set, else in this process."""

from contextlib import suppress
from typing import Final

from anyio import to_thread
from cachetools import TTLCache

from autoindex.settings import Settings
from autoindex.storage import cache

_LARGEST_BYTES: Final = 64 * 1024 * 1024
_KEPT_SECONDS: Final = 3_600.0


class PageCache:
    """Bytes under keys that carry their data's version, so that none has to be invalidated."""

    def __init__(self, settings: Settings, largest_bytes: int = _LARGEST_BYTES) -> None:
        self._shared = None if settings.redis_url is None else cache.from_settings(settings)
        self._here: TTLCache[str, bytes] = TTLCache(largest_bytes, _KEPT_SECONDS, getsizeof=len)

    async def get(self, key: str) -> bytes | None:
        """The value; None where there is none, or no Redis."""
        if self._shared is None:
            return self._here.get(key)
        return await to_thread.run_sync(self._shared.get, key)

    async def set(self, key: str, value: bytes) -> None:
        """Keep a value for an hour; the values used least recently give way."""
        if self._shared is not None:
            await to_thread.run_sync(self._shared.set, key, value, _KEPT_SECONDS)
            return
        with suppress(ValueError):  # it is larger than the whole cache
            self._here[key] = value
