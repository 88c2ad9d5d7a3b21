"""Many reads of the same kind, joined into few."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from api.tasks.deadline import Deadline, never
from api.tasks.runner import Overload

K = TypeVar("K")
V = TypeVar("V")

_MOST_IN_ONE: Final = 200
_MOST_AT_ONCE: Final = 2


@dataclass(eq=False, slots=True)
class _Load(Generic[V]):
    """One key to read, and how many wait for its value."""

    answer: asyncio.Future[V | None]
    callers: int = 0
    called_at: float = field(default_factory=time.monotonic)

    def fail(self, error: Exception) -> None:
        self.answer.set_exception(error)
        self.answer.exception()  # there may be no caller left to retrieve it


class BatchLoader(Generic[K, V]):
    """Reads single keys in batches, so that load makes larger batches, not longer queues.

    A key waits only while `most_at_once` reads are in progress. It never joins a read that began
    before the call, so no value is older than its call. It is dropped when its last caller gives
    up, and raises `Overload` where its read would begin too late.
    """

    def __init__(
        self,
        read: Callable[[Sequence[K]], Coroutine[Any, Any, Mapping[K, V]]],
        deadline: Deadline,
        most_in_one: int = _MOST_IN_ONE,
        most_at_once: int = _MOST_AT_ONCE,
        is_busy: Callable[[], bool] = never,
    ) -> None:
        self._read = read
        self._most_in_one = most_in_one
        self._most_at_once = most_at_once
        self._is_busy = is_busy
        self._deadline = deadline
        self._waiting: dict[K, _Load[V]] = {}
        self._running: dict[asyncio.Task[None], Mapping[K, _Load[V]]] = {}

    async def get(self, key: K) -> V | None:
        """The value of `key`, None where the read has none; raises what the read raises."""
        load = self._waiting.get(key)
        if load is None:
            answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
            load = self._waiting[key] = _Load(answer)
        load.callers += 1
        self._begin()
        try:
            # Others may wait for the same value: a caller that gives up must not cancel it.
            return await asyncio.shield(load.answer)
        finally:
            load.callers -= 1
            if not load.callers and not load.answer.done():
                self._drop(key, load)

    def _drop(self, key: K, load: _Load[V]) -> None:
        if self._waiting.get(key) is load:
            del self._waiting[key]
        for reading, loads in self._running.items():
            if not any(other.callers for other in loads.values()):
                reading.cancel()

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self._most_at_once:
            loads = self._next()
            if loads:
                task = asyncio.create_task(self._load(loads))
                self._running[task] = loads
                task.add_done_callback(self._done)

    def _next(self) -> Mapping[K, _Load[V]]:
        """The next batch; keys that have waited too long fail."""
        keys = list(islice(self._waiting, self._most_in_one))
        loads = {key: self._waiting.pop(key) for key in keys}
        oldest = time.monotonic() - self._deadline.queue_seconds
        for key in [key for key, load in loads.items() if load.called_at < oldest]:
            loads.pop(key).fail(Overload())
        return loads

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._begin()

    async def _load(self, loads: Mapping[K, _Load[V]]) -> None:
        try:
            found = await self._deadline.answer(self._read(list(loads)), self._is_busy)
        except Exception as error:  # noqa: BLE001 - it is raised to the callers
            for load in loads.values():
                load.fail(error)
        else:
            for key, load in loads.items():
                load.answer.set_result(found.get(key))
