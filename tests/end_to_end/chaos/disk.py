"""A disk for report files that can be full."""

import errno
import os
import subprocess
from pathlib import Path
from typing import Protocol

import psutil


class Disk(Protocol):
    """Where runs write their report files."""

    kind: str

    def fill(self, zygotes: list[psutil.Process]) -> None:
        """Leave no room; `zygotes` are what runs come from."""
        ...

    def free(self, zygotes: list[psutil.Process]) -> None:
        """Make room again."""
        ...

    def close(self) -> None:
        """Remove it."""
        ...


class SmallDisk:
    """A file system of its own, mounted for the storm."""

    kind = "a tmpfs of 64 MB"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        words = ("mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "autoindex-storm")
        subprocess.run([*words, str(folder)], check=True)

    def __str__(self) -> str:
        return self.kind

    def fill(self, zygotes: list[psutil.Process]) -> None:  # noqa: ARG002
        with (self._folder / ".ballast").open("wb", buffering=0) as ballast:
            size = 1 << 20
            while size:
                try:
                    ballast.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self, zygotes: list[psutil.Process]) -> None:  # noqa: ARG002
        (self._folder / ".ballast").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


class SmallFiles:
    """Where nobody may mount: runs that begin meanwhile can't write a file of more than 2 kB."""

    kind = "RLIMIT_FSIZE of 2 kB for new runs (no right to mount a small file system)"

    def __str__(self) -> str:
        return self.kind

    def fill(self, zygotes: list[psutil.Process]) -> None:
        self._limit(zygotes, 2048)

    def free(self, zygotes: list[psutil.Process]) -> None:
        self._limit(zygotes, None)

    def close(self) -> None:
        pass

    def _limit(self, zygotes: list[psutil.Process], size: int | None) -> None:
        for zygote in zygotes:
            _, most = zygote.rlimit(psutil.RLIMIT_FSIZE)
            zygote.rlimit(psutil.RLIMIT_FSIZE, (most if size is None else size, most))


def small(folder: Path) -> Disk:
    """A small disk at a folder, as far as we may."""
    return SmallDisk(folder) if os.geteuid() == 0 else SmallFiles()
