"""The folder of reports, which may lie on a server that hangs: it is read in threads of its own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

_MOST_THREADS: Final = 4


class ReportFolder:
    """Reads the files of a folder; a reader that gives up waits for nothing.

    A thread cannot be interrupted. One that hangs is taken until the system answers, so that
    downloads wait for each other only, and there are never more than a few threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(_MOST_THREADS, "report-folder")

    async def read(self, relative: str) -> bytes | None:
        """The file at this path below the folder; None where there is none."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _content, self._folder, relative)

    def close(self) -> None:
        """Start no more reads. The process ends only when a read that hangs has ended."""
        self._threads.shutdown(wait=False)


def _content(folder: Path, relative: str) -> bytes | None:
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    try:
        return path.read_bytes()
    except FileNotFoundError:  # deleted since it was found
        return None
