"""A run's process as its worker sees it: its end, its memory, and the signals it is sent."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Process:
    """A process with a handle from the kernel, so that no signal meets another with its number.

    It leads a session of its own, and `ended` is its exit status: negative for a signal, as in
    `subprocess`.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = pidfd

    def end(self, status: int) -> None:
        """Note how it has ended."""
        if self.ended.done():
            return
        os.close(self._pidfd)
        self.ended.set_result(status)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal, where it still lives."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)

    async def stop(self, gently: signal.Signals, seconds: float) -> None:
        """Ask it to end, and kill it where it has not within so many seconds."""
        self.send(gently)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.ended), seconds)
        self.send(signal.SIGKILL)

    def own_bytes(self, limit: int) -> int:
        """Memory that is its alone, resident or swapped out; 0 where it has ended.

        Looked up page by page only where a cheap bound is not below `limit`: a fork shares most of
        its pages with the zygote, and counting which takes milliseconds.
        """
        folder = Path("/proc") / str(self.pid)
        try:
            _, resident, shared = (folder / "statm").read_text().split()[:3]
            bound = (int(resident) - int(shared)) * _PAGE
            # What is swapped out is not resident, and is rarely any.
            return bound if bound < limit // 2 else _exactly(folder / "smaps_rollup")
        except (OSError, ValueError):
            return 0


def _exactly(rollup: Path) -> int:
    kilobytes = 0
    for line in rollup.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Private_Clean", "Private_Dirty", "Private_Hugetlb", "SwapPss"):
            kilobytes += int(rest.split()[0])
    return kilobytes * 1024
