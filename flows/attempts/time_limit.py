"""The soft time limit: the worker's signal interrupts a run once, which ends as `SoftTimeLimit`.

The signal's handler may run between any two steps of the main thread, so that its exception passes
through other libraries. It raises a `KeyboardInterrupt`, which they all handle: psycopg cancels its
query, SQLAlchemy invalidates the connection, and no `except Exception` catches it. `enforced` turns
it into `SoftTimeLimit` at the end of a subtask, and of the flow.

A block that must not be interrupted, as a commit and what follows from it, is a `deferred()` block.
Its part that may take long, and is undone if it does not finish, is an `interruptible()` block.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from autoindex.errors import SoftTimeLimit

P = ParamSpec("P")
R = TypeVar("R")


class _Interrupt(KeyboardInterrupt):
    """The limit until `enforced` turns it into `SoftTimeLimit`."""


class _Limit:
    """Whether the limit was reached, raised and enforced, and how many blocks defer it."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.enforcing = 0
        self.deferrals = 0
        self.was_raised = False
        self.was_enforced = False

    def raise_if_due(self) -> None:
        if self.reason and self.enforcing and not self.deferrals and not self.was_enforced:
            self.was_raised = True
            raise _Interrupt(self.reason)


_limit = _Limit()


def reach(reason: str) -> None:
    """Interrupt the main thread: now, or at the end of a deferred block.

    Nothing is interrupted before the flow's own code begins, or after it has ended.
    """
    _limit.reason = reason
    if not _limit.was_raised:
        _limit.raise_if_due()


def is_reached() -> bool:
    """Whether the limit was reached."""
    return _limit.reason is not None


def enforced(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function end with `SoftTimeLimit` at the limit, whatever handled the interrupt."""

    # Not a context manager: a signal could arrive between its block and its exit.
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                _limit.enforcing += 1
                # An interrupt that was swallowed, as by a destructor, is raised again here.
                _limit.raise_if_due()
                return function(*args, **kwargs)
            finally:
                _limit.enforcing -= 1
        except BaseException as error:
            if not _limit.was_raised or _limit.was_enforced:
                raise
            _limit.was_enforced = True
            raise SoftTimeLimit(_limit.reason) from error

    return call


@contextmanager
def deferred() -> Iterator[None]:
    """Defer the limit until the block ends; an exception of the block takes precedence."""
    _limit.deferrals += 1
    try:
        yield
    finally:
        _limit.deferrals -= 1
    _limit.raise_if_due()


@contextmanager
def interruptible() -> Iterator[None]:
    """Allow the limit to interrupt a block within a deferred one."""
    deferrals, _limit.deferrals = _limit.deferrals, 0
    try:
        _limit.raise_if_due()
        yield
    finally:
        _limit.deferrals = deferrals
