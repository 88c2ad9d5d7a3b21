"""A child process of the local stack: started in its own session, gone when its parent is."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from autoindex.errors import AutoindexError
from worker.parent_death import describe, die_with_parent

STOP_SECONDS: Final = 20.0


class ChildFailed(AutoindexError):
    """A part of the stack ended by itself, or never became ready."""


class Child:
    """One part of the stack, run in its own session, its output in a log file of this run only.

    `stop_signal` asks it to stop in order; `death_signal` is what the kernel sends when the stack
    itself was killed: nobody is left then to wait for an orderly end.

    Start it from a thread that lives as long as the child: the kernel ties "parent" to the thread.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=die_with_parent(death_signal),  # noqa: PLW1509 - see die_with_parent
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def check_alive(self) -> None:
        """Raise `ChildFailed` with the end of its log if it has ended."""
        status = self.process.poll()
        if status is not None:
            raise ChildFailed(
                f"{self.name} ended with {describe(status)}; "
                f"the end of {self.log}:\n{last_lines(self.log)}"
            )

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask it to stop, then kill what is left of its session."""
        if self.process.poll() is None:
            self.process.send_signal(self._stop_signal)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a text file, for an error message."""
    if not path.exists():
        return "(empty)"
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-count:]) or "  (empty)"
