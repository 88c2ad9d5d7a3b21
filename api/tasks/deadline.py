"""Answers that come in time, or not at all."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import Request

R = TypeVar("R")

_LOOK_SECONDS: Final = 0.5

log = logging.getLogger("autoindex.api")


def never() -> bool:
    """Nobody else is being served."""
    return False


async def unless_disconnected(request: Request, answering: Coroutine[Any, Any, R]) -> R | None:
    """The answer; None where its client has gone, and what would be answered is given up."""
    await request.body()  # what is received after it can only be that the client has gone
    answer = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await answer if answer.done() else None
    finally:
        for task in (answer, gone):
            task.cancel()


class Deadline:
    """Answers within so many seconds, or raises `TimeoutError` then.

    What is late is cancelled but not waited for: psycopg, told to stop, asks the database to stop
    too, and gives one that hangs ten more seconds.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._late: set[asyncio.Task[Any]] = set()

    @property
    def queue_seconds(self) -> float:
        """How long a question may wait for its turn: what then begins has time to be answered."""
        return self.seconds * 2 / 3

    @property
    def part_seconds(self) -> float:
        """How long one part is waited for: less than for all, so that it can be named."""
        return self.seconds * 8 / 9

    async def answer(
        self, handling: Coroutine[Any, Any, R], is_busy: Callable[[], bool] = never
    ) -> R:
        """The answer, or what was raised instead.

        It may take twice as long while `is_busy` says that others are being served: to give up
        would only add the same question once more.
        """
        task = asyncio.create_task(handling)
        try:
            await asyncio.wait({task}, timeout=self.seconds)
            latest = time.monotonic() + self.seconds
            while not task.done() and is_busy() and time.monotonic() < latest:
                await asyncio.wait({task}, timeout=_LOOK_SECONDS)
        finally:
            if not task.done():
                self._abandon(task)
        if task in self._late:
            raise TimeoutError
        return task.result()

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        self._late.add(task)
        task.add_done_callback(self._log_failure)

    def _log_failure(self, task: asyncio.Task[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a request that had been given up has failed", exc_info=error)
