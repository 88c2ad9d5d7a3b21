"""Kills the processes that runs leave behind, also those in sessions of their own.

A process that loses its parent goes to its nearest subreaper: to its run while the run lives, then
to the zygote, which kills it before it reports that the run has ended. What the zygote leaves
behind goes to its guard, a process between the zygote and the worker that does nothing else.
"""

import os
import signal
import socket
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from worker.parent_death import prctl, set_parent_death_signal

_PR_SET_CHILD_SUBREAPER: Final = 36
END: Final = signal.SIGUSR1
"""Asks a guard to kill everything."""
PARENT_ENDED: Final = signal.SIGCONT
"""Tells a guard that its worker has ended; wakes a guard that is stopped, too."""


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_orphans(known: Collection[int] = ()) -> None:
    """Kill this process's children but the known ones, and then those that these leave behind."""
    while orphans := _children() - set(known):
        for pid in orphans:  # the number is still theirs: only this process waits for them
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def fork_under_guard(worker_socket: socket.socket) -> None:
    """Continue in a child; this process kills what is left once the child or the worker ends."""
    worker, guard = os.getppid(), os.getpid()
    signals = {signal.SIGCHLD, PARENT_ENDED, END}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    adopt_orphans()
    zygote = os.fork()
    if zygote == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != guard:  # the guard ended between the fork and the line above
            os._exit(1)
        return
    worker_socket.close()
    while os.getppid() == worker and _is_alive(zygote) and signal.sigwait(signals) != END:
        pass
    kill_orphans()
    os._exit(0)


def _is_alive(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _children() -> set[int]:
    ours = str(os.getpid())
    names = os.listdir("/proc")  # noqa: PTH208 - names are what is wanted
    return {int(name) for name in names if name.isdigit() and _parent(name) == ours}


def _parent(pid: str) -> str | None:
    with suppress(OSError), open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - many, and often
        # After the name, which may contain anything: the state, and the parent.
        return stat.read().rpartition(")")[2].split()[1]
    return None
