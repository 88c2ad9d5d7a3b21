"""Many questions of the same kind, answered by few reads."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from api.in_time import InTime, never

K = TypeVar("K")
V = TypeVar("V")

_MOST_IN_ONE: Final = 200
_MOST_AT_ONCE: Final = 2


class Batches(Generic[K, V]):
    """Reads what is asked for one by one in batches, so that load makes batches, not queues.

    A question waits only while `most_at_once` reads are on their way, and joins none that began
    before it was asked: no answer is older than its question.
    """

    def __init__(
        self,
        read: Callable[[Sequence[K]], Coroutine[Any, Any, Mapping[K, V]]],
        in_time: InTime,
        most_in_one: int = _MOST_IN_ONE,
        most_at_once: int = _MOST_AT_ONCE,
        is_busy: Callable[[], bool] = never,
    ) -> None:
        self._read = read
        self._most_in_one = most_in_one
        self._most_at_once = most_at_once
        self._is_busy = is_busy
        self._in_time = in_time
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def get(self, key: K) -> V | None:
        """What the read says of `key`, None where it says nothing; raises what the read raises."""
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_future()
        answer = self._asked[key]
        self._start()
        # Others may wait for the same answer: one that gives up must not cancel it.
        return await asyncio.shield(answer)

    def _start(self) -> None:
        while self._asked and len(self._running) < self._most_at_once:
            keys = list(islice(self._asked, self._most_in_one))
            task = asyncio.create_task(self._answer({key: self._asked.pop(key) for key in keys}))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _answer(self, asked: Mapping[K, asyncio.Future[V | None]]) -> None:
        try:
            found = await self._in_time.answer(self._read(list(asked)), self._is_busy)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            for answer in asked.values():
                answer.set_exception(error)
                answer.exception()  # whoever asked may have gone
        else:
            for key, answer in asked.items():
                answer.set_result(found.get(key))
