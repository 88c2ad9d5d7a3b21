"""The stack's data folder: for its owner only, and with nothing else in it."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from autoindex.errors import ConfigurationError

LOCK: Final = "lock"
# What other commands, and processes started by hand, may make before a stack does.
_OURS: Final = frozenset({"archive", "demo", "logs", "reports", "tmp", "lost+found"})
_SHOWN: Final = 3


def check(folder: Path) -> None:
    """Create the folder if it is missing, close it to other users, and mark it as a stack's.

    Raises `ConfigurationError` if we can't write to it or close it, or if it holds files that
    Autoindex has not made: from `/` the default is `/var`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_contents(folder)
        folder.chmod(0o700)
        with TemporaryFile(dir=folder):
            (folder / LOCK).touch()
    except OSError as error:
        raise ConfigurationError(
            f"can't write to {folder} ({error.strerror}): set AUTOINDEX_DATA_DIR to a folder of "
            "your own"
        ) from error


def _check_contents(folder: Path) -> None:
    if (folder / LOCK).is_file():
        return
    names = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    foreign = sorted(names - _OURS)
    if foreign:
        shown = ", ".join(foreign[:_SHOWN]) + (", …" if len(foreign) > _SHOWN else "")
        raise ConfigurationError(
            f"{folder} holds what Autoindex has not made ({shown}): "
            "set AUTOINDEX_DATA_DIR to a folder of its own"
        )
