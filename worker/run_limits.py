"""Keep one run's process within its limits, and end it when it has to end."""

import asyncio
import signal
import time
from dataclasses import dataclass
from enum import Enum
from typing import Final

from worker.configuration import AutoindexJobConfiguration
from worker.outages import Outages
from worker.process import Process
from worker.run import SOFT_LIMIT_SIGNAL, STOP_SIGNAL

_MB: Final = 1 << 20
_LOOK_SECONDS: Final = 0.1
STOP_SECONDS: Final = 2.0
"""What a run that is stopped gets to unwind before it is killed."""

LIMIT_EXCEEDED: Final = "LimitExceeded"
LOST: Final = "Lost"
"""What a worker calls the failed states that it decides on."""


class ExitCause(Enum):
    """Why a run's process has ended."""

    BY_ITSELF = "by itself"
    LIMIT = "a limit"
    CANCELLED = "cancelled"
    HANDED_BACK = "handed back"
    LOST = "its lease was lost"
    NOT_STARTED = "never there"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run's process has ended; `reason` is a sentence where a limit was hit, or no start."""

    cause: ExitCause
    status: int
    reason: str = ""

    @property
    def is_death(self) -> bool:
        """Whether nobody wanted it to end then."""
        return self.cause in (ExitCause.BY_ITSELF, ExitCause.LOST, ExitCause.NOT_STARTED)

    @property
    def was_cut_short(self) -> bool:
        """Whether it may have had something left to do after it had told Prefect of its end."""
        return self.cause is not ExitCause.BY_ITSELF or self.status < 0


class Supervisor:
    """Watches one run's process from its start to its end.

    What a run waits for Prefect or the database, as to report its end, does not count on its time.
    """

    def __init__(self, limits: AutoindexJobConfiguration, outages: Outages) -> None:
        self.process: Process | None = None
        self._limits = limits
        self._outages = outages
        self._began = 0.0
        self._cause = ExitCause.BY_ITSELF
        self._reason = ""
        self._asked = False

    async def watch(self, process: Process) -> Exit:
        """Return when the process has ended."""
        self.process, self._began = process, self._clock()
        if self._cause is not ExitCause.BY_ITSELF:  # to be ended before it was there
            self.kill()
        while not process.ended.done():
            self._check_memory(process)
            self._check_time(process)
            await asyncio.wait([process.ended], timeout=_LOOK_SECONDS)
        return Exit(self._cause, process.ended.result(), self._reason)

    async def stop(self, cause: ExitCause, seconds: float = STOP_SECONDS) -> None:
        """End the process; the first cause given is the one that counts."""
        self._note(cause)
        if self.process is not None:
            await self.process.stop(STOP_SIGNAL, seconds)

    async def lose(self) -> None:
        """End the process at once, because another worker has its run."""
        self._note(ExitCause.LOST)
        self.kill()

    def kill(self) -> None:
        """End the process, where it lives."""
        if self.process is not None:
            self.process.send(signal.SIGKILL)

    def _clock(self) -> float:
        return time.monotonic() - self._outages.seconds

    def _note(self, cause: ExitCause, reason: str = "") -> None:
        if self._cause is ExitCause.BY_ITSELF:
            self._cause, self._reason = cause, reason

    def _check_memory(self, process: Process) -> None:
        limit = self._limits.memory_limit_mb
        if limit is None:
            return
        used = process.own_bytes(limit * _MB)
        if used > limit * _MB:
            # Noted before the kill, so that nobody takes it for a crash.
            self._note(
                ExitCause.LIMIT,
                f"memory limit of {limit:,} MB exceeded: {used / _MB:,.0f} MB used",
            )
            process.send(signal.SIGKILL)

    def _check_time(self, process: Process) -> None:
        seconds = self._clock() - self._began
        soft, hard = self._limits.soft_time_limit_seconds, self._limits.hard_time_limit_seconds
        if hard is not None and seconds > hard:
            self._note(ExitCause.LIMIT, f"hard time limit of {hard:g} s exceeded")
            process.send(signal.SIGKILL)
        elif soft is not None and seconds > soft and not self._asked:
            self._asked = True
            process.send(SOFT_LIMIT_SIGNAL)
