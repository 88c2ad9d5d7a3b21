"""Processes that end with their parent, and exit statuses in words."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; does nothing off Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def set_parent_death_signal(signum: int) -> None:
    """Have the kernel send this process `signum` when its parent dies; does nothing off Linux."""
    prctl(_PR_SET_PDEATHSIG, signum)


def block_sigterm() -> None:
    """Block SIGTERM from here on, in every process forked from this one too.

    A service manager that stops a worker signals all its processes, but only the worker decides
    what becomes of its runs.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def die_with_parent(signum: int) -> Callable[[], None]:
    """A `preexec_fn` that ties the child's life to this process."""
    # Loaded before the fork: after it, only async-signal-safe calls are safe.
    call = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def set_signal() -> None:
        if call is not None:
            call(_PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # the parent died between the fork and the line above
            os._exit(1)

    return set_signal


def describe(status: int) -> str:
    """An exit status in words: a signal by its name."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
