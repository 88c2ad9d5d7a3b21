"""The cache as the event loop may use it: it never waits for Redis itself."""

from typing import Final

from anyio import to_thread

from autoindex.settings import Settings
from autoindex.storage import cache

_KEPT_SECONDS: Final = 3_600.0


class SharedCache:
    """Bytes under keys that carry their data's version, so that they need never be taken back."""

    def __init__(self, settings: Settings) -> None:
        self._cache = cache.from_settings(settings)
        self._waits = not isinstance(self._cache, cache.MemoryCache)

    async def get(self, key: str) -> bytes | None:
        """The value; None where there is none, or no Redis."""
        if self._waits:
            return await to_thread.run_sync(self._cache.get, key)
        return self._cache.get(key)

    async def set(self, key: str, value: bytes) -> None:
        """Keep a value for an hour."""
        if self._waits:
            await to_thread.run_sync(self._cache.set, key, value, _KEPT_SECONDS)
        else:
            self._cache.set(key, value, _KEPT_SECONDS)
