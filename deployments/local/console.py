"""Progress on the terminal: one line a step, with its time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

_SECONDS_BETWEEN_LINES: Final = 10.0


class Progress:
    """Prints each step once it is done, and shows meanwhile what it is doing.

    On a terminal one line changes all the time; elsewhere there is a new line every ten seconds.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, name: str, waits_for: str = "") -> Iterator["Step"]:
        """Show `name` as running, then as done, with the seconds it took."""
        with Step(self.console, name, waits_for) as step:
            yield step

    @contextmanager
    def passing(self, name: str, waits_for: str = "") -> Iterator["Step"]:
        """Show `name` while it is running, for a command that prints its own result."""
        with Step(self.console, name, waits_for, stays=False) as step:
            yield step


class Step:
    """One step; `update` sets the text beside its name, `done` the text that stays."""

    def __init__(self, console: Console, name: str, waits_for: str, *, stays: bool = True) -> None:
        self._console = console
        self._stays = stays
        self._ended = threading.Event()
        self._name = name
        self._outcome = ""
        self._began = time.monotonic()
        self._waits_for = waits_for or "starting"
        self._status: Status = console.status(self)  # redrawn all the time: see __rich__

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        else:
            threading.Thread(target=self._print_lines, daemon=True).start()
        return self

    def _print_lines(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LINES):
            self._console.print(f"   {self.__rich__()}", highlight=False, soft_wrap=True)

    def update(self, waits_for: str) -> None:
        """Show what is waited for now."""
        self._waits_for = waits_for

    def done(self, outcome: str) -> None:
        """Set the result, which is shown when the step ends."""
        self._outcome = outcome

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._status.stop()
        self._ended.set()
        if not self._stays:
            return
        mark = "[green]✓[/]" if error is None else "[red]✗[/]"
        seconds = time.monotonic() - self._began
        outcome = escape(self._outcome)
        self._console.print(
            f" {mark} {self._name:<24} [dim]{seconds:5.1f} s[/]  {outcome}",
            highlight=False,
            soft_wrap=True,
        )

    def __rich__(self) -> str:
        """The line while it is running, with the seconds so far."""
        seconds = time.monotonic() - self._began
        return f"{self._name:<24} [dim]{seconds:5.1f} s[/]  {escape(self._waits_for)}"
