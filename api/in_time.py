"""Answers that come in time, or not at all."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

R = TypeVar("R")

ANSWER_SECONDS: Final = 4.5
# Many are served within the same time again; for more, "try again" is the better answer.
_BUSY_SECONDS: Final = 4.5
_LOOK_SECONDS: Final = 0.5

log = logging.getLogger("autoindex.api")


def never() -> bool:
    """Nobody else is being served."""
    return False


class InTime(Generic[R]):
    """Answers within so many seconds, or raises `TimeoutError` then.

    What is late is cancelled but not waited for: psycopg, told to stop, asks the database to stop
    too, and gives one that hangs ten more seconds.
    """

    def __init__(self, seconds: float = ANSWER_SECONDS) -> None:
        self._seconds = seconds
        self._late: set[asyncio.Task[R]] = set()

    async def answer(
        self, handling: Coroutine[Any, Any, R], is_busy: Callable[[], bool] = never
    ) -> R:
        """The answer, or what was raised instead.

        It may take twice as long while `is_busy` says that others are being served: to give up
        would only add the same question once more.
        """
        task = asyncio.create_task(handling)
        try:
            await asyncio.wait({task}, timeout=self._seconds)
            latest = time.monotonic() + _BUSY_SECONDS
            while not task.done() and is_busy() and time.monotonic() < latest:
                await asyncio.wait({task}, timeout=_LOOK_SECONDS)
        finally:
            if not task.done():
                self._let_go(task)
        if task in self._late:
            raise TimeoutError
        return task.result()

    def _let_go(self, task: asyncio.Task[R]) -> None:
        task.cancel()
        self._late.add(task)
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[R]) -> None:
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a request that had been given up has failed", exc_info=error)
