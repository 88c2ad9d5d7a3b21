"""The soft time limit: the supervisor's signal becomes an exception where it does no harm.

A handler of signals may run between any two steps of the main thread. What must not be cut in two,
a transaction above all, is put between `finishing()`: the exception waits for its end.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from autoindex.errors import SoftTimeLimit


class _Limit:
    """Whether the limit was reached, and whether it has to wait."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.waits = 0
        self.raised = False

    def raise_once(self) -> None:
        if self.reason is not None and not self.waits and not self.raised:
            self.raised = True
            raise SoftTimeLimit(self.reason)


_limit = _Limit()


def reach(reason: str) -> None:
    """Raise `SoftTimeLimit` in the main thread: now, or at the end of what is being finished."""
    _limit.reason = reason
    _limit.raise_once()


def is_reached() -> bool:
    """Whether the time for an orderly end has come."""
    return _limit.reason is not None


@contextmanager
def finishing() -> Iterator[None]:
    """Let the block end before the limit is felt; what the block raises comes first."""
    _limit.waits += 1
    try:
        yield
    finally:
        _limit.waits -= 1
    _limit.raise_once()
