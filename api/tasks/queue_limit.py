"""How many tasks may wait to begin: more of a kind are refused until some of them have begun."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from api.tasks.runner import Kind, TaskRunner
from autoindex.errors import PartUnavailable

_COUNT_AGAIN_SECONDS: Final = 1.0
# A flood that is being refused must not become a flood of counting.
_COUNT_FULL_AGAIN_SECONDS: Final = 0.25

log = logging.getLogger("autoindex.api")


class QueueFull(Exception):
    """As many tasks of this kind wait to begin as may."""

    def __init__(self, kind: Kind, bound: int) -> None:
        super().__init__(
            f"{bound:,} {kind} tasks wait to begin already; try again when some of them have begun"
        )


@dataclass(slots=True)
class _Queue:
    """What is known of one kind: a count, and what this process has started since."""

    counted: int | None = None
    counted_at: float = 0.0
    started: int = 0
    started_when_counted: int = 0
    underway: int = 0
    counting: asyncio.Task[None] | None = None

    @property
    def length(self) -> int:
        """Never less than what really waits, as far as this process has a hand in it."""
        since = self.started - self.started_when_counted
        return (self.counted or 0) + since + self.underway

    @property
    def age(self) -> float:
        return time.monotonic() - self.counted_at


class Backlog:
    """Holds each kind's queue to a bound.

    A start does not wait for the queue to be counted: the count is a second old at most while
    tasks are being started, and what this process starts is added as it starts it. Another facade
    on the same Prefect may bring a queue over the bound, by what it starts within that second.
    """

    def __init__(self, runner: TaskRunner, bound: int) -> None:
        self._runner = runner
        self._bound = bound
        self._queues = {kind: _Queue() for kind in Kind}

    @asynccontextmanager
    async def place(self, kind: Kind) -> AsyncIterator[None]:
        """Hold a place in the queue while a task is being started; raises `QueueFull`."""
        queue = self._queues[kind]
        full = queue.length >= self._bound
        if queue.counted is None or (full and queue.age > _COUNT_FULL_AGAIN_SECONDS):
            await asyncio.shield(self._count(kind, queue))
        elif queue.age > _COUNT_AGAIN_SECONDS:
            self._count(kind, queue).add_done_callback(_told)
        if queue.length >= self._bound:
            raise QueueFull(kind, self._bound)
        queue.underway += 1
        try:
            yield
        finally:
            queue.underway -= 1
            queue.started += 1

    async def aclose(self) -> None:
        """Stop counting."""
        for queue in self._queues.values():
            if queue.counting is not None:
                queue.counting.cancel()

    def _count(self, kind: Kind, queue: _Queue) -> asyncio.Task[None]:
        """Count, or join those who do already."""
        if queue.counting is None or queue.counting.done():
            queue.counting = asyncio.create_task(self._counted(kind, queue))
        return queue.counting

    async def _counted(self, kind: Kind, queue: _Queue) -> None:
        # What is underway now may be counted or not; it is added in any case once it has started.
        started = queue.started
        queue.counted_at = time.monotonic()
        queue.counted = await self._runner.queued(kind)
        queue.started_when_counted = started


def _told(counting: asyncio.Task[None]) -> None:
    if counting.cancelled():
        return
    problem = counting.exception()
    if isinstance(problem, PartUnavailable):
        log.warning("the queue was not counted: %s", problem)
    elif problem is not None:
        log.error("the queue was not counted", exc_info=problem)
