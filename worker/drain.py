"""How a worker stops: its runs get some time to end, and the rest is handed back."""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup

from worker.execution import Executor
from worker.run_limits import ExitCause

_log = logging.getLogger("prefect.workers.autoindex")


class Drain:
    """Begins with the first signal; a second one hands runs back at once."""

    def __init__(self, seconds: float) -> None:
        self.is_done = False
        self._seconds = seconds
        self._stopping = asyncio.Event()
        self._stopping_now = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether the worker is to claim no more runs."""
        return self._stopping.is_set()

    def handle_signals(self) -> None:
        """Begin with SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        # Not in the main thread, as in a test, signals belong to other code.
        with suppress(ValueError, RuntimeError):
            for signum in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(signum, self._stop)

    def _stop(self) -> None:
        (self._stopping_now if self._stopping.is_set() else self._stopping).set()

    async def run(
        self, executor: Executor, is_busy: Callable[[], bool], services: TaskGroup
    ) -> None:
        """Wait for the first signal, then until the worker is no longer busy."""
        await self._stopping.wait()
        _log.info("stopping: %d runs have %.0f s to end", len(executor.runs), self._seconds)
        with anyio.move_on_after(self._seconds):
            while is_busy() and not self._stopping_now.is_set():
                await asyncio.sleep(0.1)
        while is_busy():
            for run in list(executor.runs.values()):
                services.start_soon(run.stop, ExitCause.HANDED_BACK)
            await asyncio.sleep(0.5)
        self.is_done = True
