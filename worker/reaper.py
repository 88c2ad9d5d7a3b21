"""End what runs leave behind, in sessions of their own too.

Who loses its parent goes to its nearest subreaper: to its run while that lives, then to the zygote,
which ends it before it says that the run has ended. What the zygote leaves behind goes to its
guard, a process between it and its worker that does nothing else.
"""

import os
import signal
import socket
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from worker.parent_death import ask_to_die_with_parent, prctl

_PR_SET_CHILD_SUBREAPER: Final = 36
END: Final = signal.SIGUSR1
"""Asks a guard to end everything."""
PARENT_ENDED: Final = signal.SIGCONT
"""Tells a guard that its worker has ended, even one that is stopped."""


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_orphans(known: Collection[int] = ()) -> None:
    """Kill this process's children but the known ones, and what they leave behind in turn."""
    while orphans := _children() - set(known):
        for pid in orphans:  # still theirs: only this process waits for them
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def stand_guard(worker_socket: socket.socket) -> None:
    """Go on in a child; this process ends what is left once the child, or its own parent, ends."""
    worker, guard = os.getppid(), os.getpid()
    heard = {signal.SIGCHLD, PARENT_ENDED, END}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    adopt_orphans()
    zygote = os.fork()
    if zygote == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        ask_to_die_with_parent(signal.SIGKILL)
        if os.getppid() != guard:  # it ended between the fork and the line above
            os._exit(1)
        return
    worker_socket.close()
    while os.getppid() == worker and _is_alive(zygote) and signal.sigwait(heard) != END:
        pass
    end_orphans()
    os._exit(0)


def _is_alive(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _children() -> set[int]:
    ours = str(os.getpid())
    names = os.listdir("/proc")  # noqa: PTH208 - names are what is wanted
    return {int(name) for name in names if name.isdigit() and _parent(name) == ours}


def _parent(pid: str) -> str | None:
    with suppress(OSError), open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - many, and often
        # After its name, which may hold anything: its state, and its parent.
        return stat.read().rpartition(")")[2].split()[1]
    return None
