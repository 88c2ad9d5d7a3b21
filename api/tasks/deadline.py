"""Deadlines: an answer in time, or a `TimeoutError`."""

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
    """Say that nothing else is being served."""
    return False


async def unless_disconnected(request: Request, answering: Coroutine[Any, Any, R]) -> R | None:
    """The answer; None where the client has disconnected, and the answer was cancelled."""
    await request.body()  # after the body, only a disconnect can be received
    answer = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await answer if answer.done() else None
    finally:
        for task in (answer, gone):
            task.cancel()


class Deadline:
    """Raises `TimeoutError` where there is no answer within so many seconds.

    The late call is cancelled but not awaited: psycopg, when cancelled, asks the database to cancel
    too, and waits ten more seconds for one that hangs.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._late: set[asyncio.Task[Any]] = set()

    @property
    def queue_seconds(self) -> float:
        """How long a read may wait to begin, so that there is time left to answer it."""
        return self.seconds * 2 / 3

    @property
    def part_seconds(self) -> float:
        """How long to wait for one part: less than for the answer, so that the error names it."""
        return self.seconds * 8 / 9

    async def answer(
        self, handling: Coroutine[Any, Any, R], is_busy: Callable[[], bool] = never
    ) -> R:
        """The answer; raises what the call raises.

        It may take twice as long while `is_busy` is true: giving up would only make the client send
        the same request again.
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
            log.warning("a call that was given up has failed", exc_info=error)
