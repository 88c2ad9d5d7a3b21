"""Peak memory of a stretch of this process, as Linux keeps it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")
# What makes the kernel forget the peak so far: see proc_pid_clear_refs(5).
_RESET = (Path("/proc/self/clear_refs"), "5")


@contextmanager
def added_mb() -> Iterator[list[float]]:
    """The resident memory, in MB, that what is inside adds at its highest, once it is done."""
    added: list[float] = []
    _RESET[0].write_text(_RESET[1])
    before = _resident("VmRSS")
    yield added
    added.append(_resident("VmHWM") - before)


def _resident(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024
