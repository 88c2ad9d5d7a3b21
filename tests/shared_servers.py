"""Servers that several tests share, in the same process, and that are stopped after the last."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

_running: dict[str, ExitStack] = {}


@contextmanager
def until_unused(fixture: str) -> Iterator[ExitStack]:
    """What is entered here ends once no test is left that uses the fixture."""
    with ExitStack() as parts:
        _running[fixture] = parts
        yield parts


def stop_unused(used: Collection[str]) -> None:
    """Stop what is not among the fixtures of the next test: an idle server costs, too."""
    for fixture in _running.keys() - set(used):
        _running.pop(fixture).close()
