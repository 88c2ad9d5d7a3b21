"""How many tasks may wait to begin: more of a kind are refused until some of them have begun."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Final

from api.cached_value import CachedValue
from api.tasks.runner import Kind, TaskRunner

_COUNT_AGAIN_SECONDS: Final = 1.0
# A flood that is being refused must not become a flood of counting.
_COUNT_FULL_AGAIN_SECONDS: Final = 0.25


class QueueFull(Exception):
    """As many tasks of this kind wait to begin as may."""

    def __init__(self, kind: Kind, bound: int) -> None:
        super().__init__(
            f"{bound:,} {kind} tasks wait to begin already; try again when some of them have begun"
        )


@dataclass(frozen=True, slots=True)
class _Count:
    """How many tasks waited, and how many this process had started before they were counted."""

    waiting: int
    started: int


class _Queue:
    """One kind's queue: its count, and what this process has started since."""

    def __init__(self, kind: Kind, runner: TaskRunner) -> None:
        self._kind = kind
        self._runner = runner
        self.count = CachedValue(f"the queue of {kind} tasks", self._count)
        self.started = 0
        self.starting = 0

    @property
    def length(self) -> int:
        """Never less than what really waits, as far as this process has a hand in it."""
        count = self.count.value or _Count(0, 0)
        return count.waiting + self.started - count.started + self.starting

    async def _count(self) -> _Count:
        # What is underway now may be counted or not; it is added in any case once it has started.
        started = self.started
        return _Count(await self._runner.queued(self._kind), started)


class QueueLimit:
    """Holds each kind's queue to a bound.

    A start does not wait for the queue to be counted: the count is a second old at most while
    tasks are being started, and what this process starts is added as it starts it. Another facade
    on the same Prefect may bring a queue over the bound, by what it starts within that second.
    """

    def __init__(self, runner: TaskRunner, bound: int) -> None:
        self._bound = bound
        self._queues = {kind: _Queue(kind, runner) for kind in Kind}

    @asynccontextmanager
    async def place(self, kind: Kind) -> AsyncIterator[None]:
        """Hold a place in the queue while a task is being started; raises `QueueFull`."""
        queue = self._queues[kind]
        full = queue.length >= self._bound
        await queue.count.get(_COUNT_FULL_AGAIN_SECONDS if full else inf, _COUNT_AGAIN_SECONDS)
        if queue.length >= self._bound:
            raise QueueFull(kind, self._bound)
        queue.starting += 1
        try:
            yield
        finally:
            queue.starting -= 1
            queue.started += 1

    async def aclose(self) -> None:
        """Stop counting."""
        for queue in self._queues.values():
            await queue.count.aclose()
