"""Keeps one run's process within its limits, and stops it."""

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
_POLL_SECONDS: Final = 0.1
STOP_SECONDS: Final = 2.0
"""The time in which a run that is stopped may unwind before it is killed."""

LIMIT_EXCEEDED: Final = "LimitExceeded"
LOST: Final = "Lost"
"""Names of the failed states that a worker sets."""


class ExitCause(Enum):
    """Why a run's process has ended."""

    BY_ITSELF = "by itself"
    LIMIT = "a limit"
    CANCELLED = "cancelled"
    HANDED_BACK = "handed back"
    LOST = "its lease was lost"
    NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run's process has ended; `reason` says which limit was hit, or why it did not start."""

    cause: ExitCause
    status: int
    reason: str = ""

    @property
    def is_death(self) -> bool:
        """Whether it died: nobody stopped it."""
        return self.cause in (ExitCause.BY_ITSELF, ExitCause.LOST, ExitCause.NOT_STARTED)

    @property
    def was_cut_short(self) -> bool:
        """Whether it may have been stopped after it set its final state, and before its hooks."""
        return self.cause is not ExitCause.BY_ITSELF or self.status < 0


class Supervisor:
    """Watches one run's process from its start to its end.

    The time of an outage of Prefect or the database does not count on a run's time limits.
    """

    def __init__(self, limits: AutoindexJobConfiguration, outages: Outages) -> None:
        self.process: Process | None = None
        self._limits = limits
        self._outages = outages
        self._started_at = 0.0
        self._cause = ExitCause.BY_ITSELF
        self._reason = ""
        self._soft_limit_sent = False

    async def watch(self, process: Process) -> Exit:
        """Return when the process has ended."""
        self.process, self._started_at = process, self._clock()
        if self._cause is not ExitCause.BY_ITSELF:  # stopped before it had started
            self.kill()
        while not process.ended.done():
            self._check_memory(process)
            self._check_time(process)
            await asyncio.wait([process.ended], timeout=_POLL_SECONDS)
        return Exit(self._cause, process.ended.result(), self._reason)

    async def stop(self, cause: ExitCause, seconds: float = STOP_SECONDS) -> None:
        """Stop the process; the first cause counts."""
        self._set_cause(cause)
        if self.process is not None:
            await self.process.stop(STOP_SIGNAL, seconds)

    async def lose(self) -> None:
        """Kill the process, because another worker has its run."""
        self._set_cause(ExitCause.LOST)
        self.kill()

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        if self.process is not None:
            self.process.send(signal.SIGKILL)

    def _clock(self) -> float:
        return time.monotonic() - self._outages.seconds

    def _set_cause(self, cause: ExitCause, reason: str = "") -> None:
        if self._cause is ExitCause.BY_ITSELF:
            self._cause, self._reason = cause, reason

    def _check_memory(self, process: Process) -> None:
        limit = self._limits.memory_limit_mb
        if limit is None:
            return
        used = process.own_bytes(limit * _MB)
        if used > limit * _MB:
            # Noted before the kill, or it would count as a crash.
            self._set_cause(
                ExitCause.LIMIT,
                f"memory limit of {limit:,} MB exceeded: {used / _MB:,.0f} MB used",
            )
            process.send(signal.SIGKILL)

    def _check_time(self, process: Process) -> None:
        seconds = self._clock() - self._started_at
        soft, hard = self._limits.soft_time_limit_seconds, self._limits.hard_time_limit_seconds
        if hard is not None and seconds > hard:
            self._set_cause(ExitCause.LIMIT, f"hard time limit of {hard:g} s exceeded")
            process.send(signal.SIGKILL)
        elif soft is not None and seconds > soft and not self._soft_limit_sent:
            self._soft_limit_sent = True
            process.send(SOFT_LIMIT_SIGNAL)
