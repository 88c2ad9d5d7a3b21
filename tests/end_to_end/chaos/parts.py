"""Parts of a running stack that can be killed, paused and started again."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import psutil

from deployments.local.child import Child
from worker.parent_death import die_with_parent
from worker.prefect_yaml import PROJECT

_GONE_SECONDS: Final = 30.0


class Part:
    """One part, watched over as a service manager does: what ends by itself is started again.

    It keeps its command and its environment over restarts, and the stack its `Child`: whoever stops
    the stack stops the process that runs then. Use it from one thread: see `Child`.
    """

    def __init__(self, child: Child) -> None:
        self.child = child
        self.name = child.name
        self.deaths = 0
        """How often it has ended by itself."""
        self._env = psutil.Process(child.pid).environ()
        self._command: Sequence[str] = list(child.process.args)  # type: ignore[arg-type]
        self._wanted = True

    def __str__(self) -> str:
        return self.name

    @property
    def processes(self) -> list[psutil.Process]:
        """Its process, and all that come from it."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.child.pid)
            return [process, *process.children(recursive=True)]
        return []

    def send(self, signum: signal.Signals) -> None:
        """A signal to each of its processes."""
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signum)

    def kill(self, *, alone: bool = False) -> None:
        """With all that come from it, or alone; it stays away until `start`."""
        self._wanted = False
        processes = self.processes
        if alone:
            self.child.process.kill()
        else:
            self.send(signal.SIGKILL)
        self.child.process.wait()
        psutil.wait_procs(processes, timeout=_GONE_SECONDS)

    def stop(self, signum: signal.Signals = signal.SIGTERM, seconds: float = 60) -> None:
        """In order; what is still there after so long is killed. It stays away until `start`."""
        self._wanted = False
        self.child.process.send_signal(signum)
        with suppress(subprocess.TimeoutExpired):
            self.child.process.wait(seconds)
        self.kill()

    def start(self, changed: Mapping[str, str] | None = None) -> None:
        """Again, as it was, but for some variables; they are forgotten at the next start."""
        self._wanted = True
        with self.child.log.open("ab") as log:
            self.child.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env | (changed or {}),
                cwd=PROJECT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - see die_with_parent
            )

    def replace(self, *words: tuple[str, str]) -> None:
        """Other words in its command, from the next start on."""
        other = dict(words)
        self._command = [other.get(word, word) for word in self._command]

    def keep_up(self) -> None:
        """Start it again where it has ended by itself."""
        if self._wanted and not self.child.is_running:
            self.deaths += 1
            time.sleep(0.5)
            self.start()

    def pause(self) -> None:
        """Stop the clock for it."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the clock go on, also for what was started meanwhile."""
        self.send(signal.SIGCONT)


def children(process: psutil.Process) -> list[psutil.Process]:
    """Its own children; none where it has ended."""
    try:
        return list(process.children())
    except psutil.NoSuchProcess:
        return []


def left_over(folder: str) -> list[psutil.Process]:
    """Processes of a stack with this data folder, whoever started them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("AUTOINDEX_DATA_DIR") == folder:
                found.append(process)
    return found
