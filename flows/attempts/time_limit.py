"""The soft time limit: the supervisor's signal interrupts a run, once, and ends as one error.

The signal's handler may run between any two steps of the main thread, so that whatever it raises
has to pass through code of others. It raises a `KeyboardInterrupt`, which they all know: psycopg
cancels its query, SQLAlchemy gives the connection up, no `except Exception` makes another error of
it. `felt` turns it into `SoftTimeLimit` at the edge of a subtask, and of the flow.

What must not be cut in two, as a commit and what follows from it, is put between `finishing()`;
what leads up to it and may take long, in there, between `interruptible()`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from autoindex.errors import SoftTimeLimit

P = ParamSpec("P")
R = TypeVar("R")


class _Interrupt(KeyboardInterrupt):
    """The limit on its way to the edge where it is felt."""


class _Limit:
    """Whether the limit was reached, raised, and felt; and whether it has to wait."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.edges = 0
        self.waits = 0
        self.was_raised = False
        self.was_felt = False

    def raise_if_due(self) -> None:
        if self.reason and self.edges and not self.waits and not self.was_felt:
            self.was_raised = True
            raise _Interrupt(self.reason)


_limit = _Limit()


def reach(reason: str) -> None:
    """Interrupt the main thread: now, or at the end of what is being finished.

    Nothing is interrupted before the flow's own code begins, nor after it has ended.
    """
    _limit.reason = reason
    if not _limit.was_raised:
        _limit.raise_if_due()


def is_reached() -> bool:
    """Whether the time for an orderly end has come."""
    return _limit.reason is not None


def felt(function: Callable[P, R]) -> Callable[P, R]:
    """Have the limit end a function as `SoftTimeLimit`, whatever was made of the interruption."""

    # Not a context manager: between its block and its end the signal could slip through.
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                _limit.edges += 1
                # One that was swallowed, as by a destructor, is raised again here.
                _limit.raise_if_due()
                return function(*args, **kwargs)
            finally:
                _limit.edges -= 1
        except BaseException as error:
            if not _limit.was_raised or _limit.was_felt:
                raise
            _limit.was_felt = True
            raise SoftTimeLimit(_limit.reason) from error

    return call


@contextmanager
def finishing() -> Iterator[None]:
    """Let the block end before the limit is felt; what the block raises comes first."""
    _limit.waits += 1
    try:
        yield
    finally:
        _limit.waits -= 1
    _limit.raise_if_due()


@contextmanager
def interruptible() -> Iterator[None]:
    """Have the block interrupted all the same: what it does is undone where it does not end."""
    waits, _limit.waits = _limit.waits, 0
    try:
        _limit.raise_if_due()
        yield
    finally:
        _limit.waits = waits
