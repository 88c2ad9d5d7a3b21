"""A value that is kept for a while: read once for all who ask, and again before it is too old."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger("autoindex.api")


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    value: T
    began_at: float


class CachedValue(Generic[T]):
    """What `read` returned last; its age counts from when that read began.

    A failure is raised again for `pause_seconds` before there is another read. `clock` gives
    seconds.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Coroutine[Any, Any, T]],
        *,
        pause_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._read = read
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._last: _Read[T] | None = None
        self._failed_at = -inf
        self._reading: asyncio.Task[_Read[T]] | None = None

    @property
    def value(self) -> T | None:
        """The value, however old; None before the first."""
        return None if self._last is None else self._last.value

    @property
    def age(self) -> float:
        """Seconds since the value was read; infinite before the first."""
        return inf if self._last is None else self._clock() - self._last.began_at

    def has_failed_within(self, seconds: float) -> bool:
        """Whether the last read failed, less than so long ago."""
        return self._clock() - self._failed_at < seconds

    async def get(self, max_age: float, refresh_age: float = inf) -> T:
        """The value, read at most `max_age` seconds before this call; raises what the read raises.

        One that is older than `refresh_age` is read again in the background.
        """
        oldest = self._clock() - max_age
        last = self._last
        while last is None or last.began_at < oldest:
            # Others may wait for the same read: one that gives up must not cancel it.
            last = await asyncio.shield(self._refresh())
        if self.age > refresh_age:
            self._refresh()
        return last.value

    async def aclose(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    def _refresh(self) -> "asyncio.Task[_Read[T]]":
        """The read that is on its way, or failed just now, or else another one."""
        reading = self._reading
        if reading is None or (reading.done() and not self.has_failed_within(self._pause_seconds)):
            reading = self._reading = asyncio.create_task(self._read_once())
            reading.add_done_callback(_retrieve)
        return reading

    async def _read_once(self) -> _Read[T]:
        began_at = self._clock()
        try:
            self._last = _Read(await self._read(), began_at)
        except Exception as error:
            if self._failed_at == -inf:
                log.warning("%s can't be read", self._name, exc_info=error)
            self._failed_at = self._clock()
            raise
        self._failed_at = -inf
        return self._last


def _retrieve(reading: "asyncio.Task[_Read[T]]") -> None:
    """Retrieve what a background read raised: it is logged, and asyncio would complain."""
    if not reading.cancelled():
        reading.exception()
