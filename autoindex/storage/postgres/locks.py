"""PostgreSQL advisory locks: two runs on the same data take turns, wherever they run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, Engine, text

from autoindex.errors import DataBusy
from autoindex.storage.postgres.transient import UNAVAILABLE

PRICES: Final = "prices"
"""Held until commit by whoever changes prices, or stores what follows from them."""
_LOOK_SECONDS: Final = 0.2


@contextmanager
def exclusive(engine: Engine, name: str, *, patience: float | None = None) -> Iterator[None]:
    """Hold the lock `name` for the length of a run, on a connection of its own.

    Waits for the lock, or raises `DataBusy` after `patience` seconds. The server releases it when
    the holder's connection ends, so a killed run blocks nobody.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if patience is None:
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": key(name)})
        else:
            _take_within(connection, name, patience)
        try:
            yield
        finally:
            # It has ended with its connection where that is gone: no error to hide the block's.
            with suppress(*UNAVAILABLE):
                connection.execute(text("select pg_advisory_unlock(:key)"), {"key": key(name)})


def _take_within(connection: Connection, name: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    taken = text("select pg_try_advisory_lock(:key)")
    while not connection.execute(taken, {"key": key(name)}).scalar_one():
        if time.monotonic() > deadline:
            raise DataBusy(f"another {name} is under way")
        time.sleep(_LOOK_SECONDS)


def until_commit(connection: Connection, name: str) -> None:
    """Hold the lock `name` until the connection's transaction ends; waits for its turn."""
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": key(name)})


def key(name: str) -> int:
    """A lock's name as the signed 64-bit number PostgreSQL wants."""
    digest = blake2b(f"autoindex:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
