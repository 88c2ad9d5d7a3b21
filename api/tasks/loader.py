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
    askers: int = 0
    asked_at: float = field(default_factory=time.monotonic)

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
        self._asked: dict[K, _Load[V]] = {}
        self._running: dict[asyncio.Task[None], Mapping[K, _Load[V]]] = {}

    async def get(self, key: K) -> V | None:
        """The value of `key`, None where the read has none; raises what the read raises."""
        question = self._asked.get(key)
        if question is None:
            answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
            question = self._asked[key] = _Load(answer)
        question.askers += 1
        self._start()
        try:
            # Others may wait for the same value: a caller that gives up must not cancel it.
            return await asyncio.shield(question.answer)
        finally:
            question.askers -= 1
            if not question.askers and not question.answer.done():
                self._drop(key, question)

    def _drop(self, key: K, question: _Load[V]) -> None:
        if self._asked.get(key) is question:
            del self._asked[key]
        for reading, asked in self._running.items():
            if not any(other.askers for other in asked.values()):
                reading.cancel()

    def _start(self) -> None:
        while self._asked and len(self._running) < self._most_at_once:
            asked = self._next()
            if asked:
                task = asyncio.create_task(self._answer(asked))
                self._running[task] = asked
                task.add_done_callback(self._ended)

    def _next(self) -> Mapping[K, _Load[V]]:
        """The next batch; keys that have waited too long fail."""
        keys = list(islice(self._asked, self._most_in_one))
        asked = {key: self._asked.pop(key) for key in keys}
        oldest = time.monotonic() - self._deadline.queue_seconds
        for key in [key for key, question in asked.items() if question.asked_at < oldest]:
            asked.pop(key).fail(Overload())
        return asked

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._start()

    async def _answer(self, asked: Mapping[K, _Load[V]]) -> None:
        try:
            found = await self._deadline.answer(self._read(list(asked)), self._is_busy)
        except Exception as error:  # noqa: BLE001 - it is raised to the callers
            for question in asked.values():
                question.fail(error)
        else:
            for key, question in asked.items():
                question.answer.set_result(found.get(key))
