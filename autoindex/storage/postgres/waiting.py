"""A transaction that outlasts a server that is away, for what has no other attempt."""

import time
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from autoindex.storage.postgres.transient import UNAVAILABLE

# Longer than the restart of a server, or of its host, takes.
_SECONDS: Final = 600.0
_PAUSE_SECONDS: Final = 1.0

P = ParamSpec("P")
R = TypeVar("R")


def until_back(
    engine: Engine,
    function: Callable[Concatenate[Connection, P], R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Call a function in a transaction of its own, again each second while the server is away.

    Raises what says that it is away after ten minutes. Where the answer to a commit is lost, the
    change may be made twice.
    """
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            with engine.begin() as connection:
                return function(connection, *args, **kwargs)
        except UNAVAILABLE:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
