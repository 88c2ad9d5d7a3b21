"""A run's process as its worker sees it: exit status, memory, and signals."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Process:
    """A process with a pidfd, so that no signal reaches a later process with its number.

    It leads a session of its own. `ended` is its exit status: negative for a signal, as in
    `subprocess`.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = pidfd

    def end(self, status: int) -> None:
        """Note its exit status."""
        if self.ended.done():
            return
        os.close(self._pidfd)
        self.ended.set_result(status)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)

    async def stop(self, request: signal.Signals, seconds: float) -> None:
        """Send a signal that asks it to end, and kill it after so many seconds."""
        self.send(request)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.ended), seconds)
        self.send(signal.SIGKILL)

    def own_bytes(self, limit: int) -> int:
        """Private memory, resident or swapped out; 0 once the process has ended.

        Counted page by page only where a cheap bound is not below half of `limit`: a fork shares
        most of its pages with the zygote, and counting them takes milliseconds.
        """
        folder = Path("/proc") / str(self.pid)
        try:
            _, resident, shared = (folder / "statm").read_text().split()[:3]
            bound = (int(resident) - int(shared)) * _PAGE
            # Swapped pages are not resident, and are rare.
            return bound if bound < limit // 2 else _private_bytes(folder / "smaps_rollup")
        except (OSError, ValueError):
            return 0


def _private_bytes(rollup: Path) -> int:
    kilobytes = 0
    for line in rollup.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Private_Clean", "Private_Dirty", "Private_Hugetlb", "SwapPss"):
            kilobytes += int(rest.split()[0])
    return kilobytes * 1024
