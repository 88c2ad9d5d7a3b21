"""The limit of queued tasks: more of a kind are refused until some of them have started."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Final

from api.cached_value import CachedValue
from api.tasks.runner import Kind, TaskRunner

_COUNT_AGAIN_SECONDS: Final = 1.0
# A flood of refused requests must not become a flood of counts.
_COUNT_FULL_AGAIN_SECONDS: Final = 0.25


class QueueFull(Exception):
    """The queue of this kind of task is full."""

    def __init__(self, kind: Kind, bound: int, *, later: bool) -> None:
        wait = "are scheduled for later" if later else "wait to begin"
        super().__init__(
            f"{bound:,} {kind} tasks {wait} already; try again when some of them have begun"
        )


@dataclass(frozen=True, slots=True)
class _Count:
    """How many tasks waited, and how many this process had started before they were counted."""

    waiting: int
    started: int


class _Queue:
    """One kind's queue: its count, and what this process has started since."""

    def __init__(self, kind: Kind, later: bool, runner: TaskRunner) -> None:
        self._kind = kind
        self._later = later
        self._runner = runner
        self.count = CachedValue(f"the queue of {kind} tasks", self._count)
        self.started = 0
        self.starting = 0

    @property
    def length(self) -> int:
        """At least what really waits, apart from what other processes start."""
        count = self.count.value or _Count(0, 0)
        return count.waiting + self.started - count.started + self.starting

    async def _count(self) -> _Count:
        # What is being started now may be in the count or not; it is added later in any case.
        started = self.started
        return _Count(await self._runner.queued(self._kind, later=self._later), started)


class QueueLimit:
    """Limits the queue of each kind of task, and as many that are scheduled for later.

    A start does not wait for a count: while tasks are being started the count is at most a second
    old, and what this process starts is added. Another facade on the same Prefect may exceed the
    limit by what it starts within that second.
    """

    def __init__(self, runner: TaskRunner, bound: int) -> None:
        self._bound = bound
        self._queues = {
            (kind, later): _Queue(kind, later, runner) for kind in Kind for later in (False, True)
        }

    @asynccontextmanager
    async def reserve(self, kind: Kind, *, later: bool = False) -> AsyncIterator[None]:
        """Reserve a place in the queue while a task is being started; raises `QueueFull`."""
        queue = self._queues[kind, later]
        full = queue.length >= self._bound
        await queue.count.get(_COUNT_FULL_AGAIN_SECONDS if full else inf, _COUNT_AGAIN_SECONDS)
        if queue.length >= self._bound:
            raise QueueFull(kind, self._bound, later=later)
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
