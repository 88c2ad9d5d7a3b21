"""What long work shows where there is no terminal."""

from io import StringIO
from queue import SimpleQueue

import pytest
from rich.console import Console

from deployments.local import console
from deployments.local.console import Progress
from tests.bounds import HANG_SECONDS


class Lines(StringIO):
    """A file whose writes can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.written: SimpleQueue[str] = SimpleQueue()

    def write(self, text: str) -> int:
        self.written.put(text)
        return super().write(text)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_SECONDS_BETWEEN_LINES", 0.01)


@pytest.mark.usefixtures("often")
def test_a_line_says_again_and_again_what_is_being_done() -> None:
    file = Lines()
    with Progress(Console(file=file)).step("Refresh", "starting") as step:
        assert "starting" in file.written.get(timeout=HANG_SECONDS)
        step.update("3 of 20 symbols")
        while "3 of 20 symbols" not in file.written.get(timeout=HANG_SECONDS):
            pass
        step.done("20 symbols, " * 20)
    # In a file a line is not broken.
    assert file.getvalue().splitlines()[-1].endswith("20 symbols, " * 20)


@pytest.mark.usefixtures("often")
def test_a_command_with_a_result_of_its_own_leaves_no_last_line() -> None:
    file = Lines()
    with Progress(Console(file=file)).passing("Import", "reading") as step:
        file.written.get(timeout=HANG_SECONDS)
        step.done("never printed")
    assert "✓" not in file.getvalue()
    assert "never printed" not in file.getvalue()


def test_short_work_writes_nothing_of_its_own() -> None:
    file = Lines()
    with Progress(Console(file=file)).passing("Import"):
        pass
    assert file.getvalue() == ""
