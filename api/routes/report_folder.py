"""The folder of reports, which may lie on a server that hangs: it is read in threads of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final, TypeVar

from anyio import AsyncFile

R = TypeVar("R")

_MOST_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that is there, and what the system says of it."""

    path: Path
    stat: os.stat_result


class ReportFolder:
    """Finds and opens the files of a folder; whoever gives up waits for nothing.

    A thread cannot be interrupted. One that hangs keeps its place until the system lets go of it,
    so that downloads wait for each other only, and there are never more than a few threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(_MOST_THREADS, "report-folder")

    async def find(self, relative: str) -> FoundFile | None:
        """The file at this path below the folder; None where there is none."""
        return await _in(self._threads, lambda: _found(self._folder, relative))

    @asynccontextmanager
    async def opened(self, path: Path) -> AsyncIterator[AsyncFile[bytes]]:
        """Open a file to read it, in the folder's threads as well."""
        file = await _in(self._threads, lambda: path.open("rb"))
        try:
            yield _File(file, self._threads)
        finally:
            # Nobody waits: a read that hangs also keeps the file from being closed.
            with suppress(RuntimeError):  # at the facade's own end, which closes it as well
                self._threads.submit(file.close)

    def close(self) -> None:
        """Take nothing more on. The process still ends only when the folder lets go of a thread."""
        self._threads.shutdown(wait=False)


class _File(AsyncFile[bytes]):
    """anyio's, which would read in the threads that everybody shares, and wait for what hangs."""

    def __init__(self, file: BinaryIO, threads: Executor) -> None:
        super().__init__(file)
        self._threads = threads

    async def read(self, size: int = -1) -> bytes:
        return await _in(self._threads, lambda: self.wrapped.read(size))

    async def seek(self, offset: int, whence: int | None = os.SEEK_SET) -> int:
        return await _in(self._threads, lambda: self.wrapped.seek(offset, whence or os.SEEK_SET))


async def _in(threads: Executor, call: Callable[[], R]) -> R:
    return await asyncio.get_running_loop().run_in_executor(threads, call)


def _found(folder: Path, relative: str) -> FoundFile | None:
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        return None
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FoundFile(path, stat) if S_ISREG(stat.st_mode) else None
