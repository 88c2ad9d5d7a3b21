"""PostgreSQL advisory locks: two runs on the same data take turns, wherever they run."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, Engine, text

PRICES: Final = "prices"
"""Held until commit by whoever changes prices, or stores what follows from them."""


@contextmanager
def exclusive(engine: Engine, name: str) -> Iterator[None]:
    """Hold the lock `name` for the length of a run, on a connection of its own.

    Waits for its turn. The server lets go of it when the holder's connection ends, so a killed run
    blocks nobody.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": key(name)})
        try:
            yield
        finally:
            connection.execute(text("select pg_advisory_unlock(:key)"), {"key": key(name)})


def until_commit(connection: Connection, name: str) -> None:
    """Hold the lock `name` until the connection's transaction ends; waits for its turn."""
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": key(name)})


def key(name: str) -> int:
    """A lock's name as the signed 64-bit number PostgreSQL wants."""
    digest = blake2b(f"autoindex:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
