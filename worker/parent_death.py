"""Processes that end with their parent, and how an end reads."""

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


def ask_to_die_with_parent(signum: int) -> None:
    """Have the kernel send this process `signum` when its parent dies; does nothing off Linux."""
    prctl(_PR_SET_PDEATHSIG, signum)


def leave_stopping_to_parent() -> None:
    """Block SIGTERM from here on, in every process forked from this one too.

    A service manager that stops a worker tells all its processes: what becomes of its runs only the
    worker knows.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def die_with_parent(signum: int) -> Callable[[], None]:
    """A `preexec_fn` that ties the child's life to this process."""
    # Loaded before the fork: after it, only async-signal-safe work is sound.
    ask = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def ask_kernel() -> None:
        if ask is not None:
            ask(_PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return ask_kernel


def describe(status: int) -> str:
    """An exit status in words: a signal by its name."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
