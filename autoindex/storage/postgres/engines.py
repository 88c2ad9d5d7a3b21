"""Connections to our PostgreSQL."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from autoindex.settings import Settings
from autoindex.storage.postgres import connecting

# The server looks after the connections of a run that is gone: a query ends soon after its client,
# and a transaction that a paused host has left open does not hold up others for ever.
_RUN_OPTIONS: Final = {
    "client_connection_check_interval": "2000",
    "idle_in_transaction_session_timeout": "60000",
}
# What a facade or a worker does is short. One that is paused in the middle of it must have let go
# of its rows by the time its leases expire.
_ASYNC_IDLE_MILLISECONDS: Final = "10000"
_ASYNC_SECONDS: Final = 4.0
_POOL: Final[dict[str, Any]] = {
    "pool_size": 5,
    "max_overflow": 5,
    "pool_timeout": 4,
}
# One that is lost within this time costs a failed query; to ask each time would double what a short
# one takes.
_RESTED_SECONDS: Final = 0.5
_RETURNED: Final = "returned_at"


def engine(settings: Settings, application: str = "autoindex") -> Engine:
    """A pool of connections; `application` is shown in `pg_stat_activity`.

    A server that was restarted in between costs one reconnect, not one failed task.
    """
    return connecting.engine(settings.database(), application, pool_pre_ping=True, **_POOL)


def run_engine(settings: Settings, task_id: UUID) -> Engine:
    """Connections of one run, known to the server by its task: see `storage.runs.fence`."""
    name = run_name(task_id)
    return connecting.engine(settings.database(), name, _RUN_OPTIONS, pool_pre_ping=True, **_POOL)


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection whose queries see the database as of one instant."""
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level="REPEATABLE READ")


def run_name(task_id: UUID) -> str:
    """What the connections of a run are called in `pg_stat_activity`."""
    return f"autoindex-run {task_id}"


def async_engine(
    settings: Settings, application: str, seconds: float = _ASYNC_SECONDS
) -> AsyncEngine:
    """The same for asyncio; a query may take so many `seconds`, so that nobody hangs.

    A transaction in which nothing is asked for ten seconds is undone, and its connection is gone.
    """
    chosen = {
        "statement_timeout": str(round(seconds * 1_000)),
        "idle_in_transaction_session_timeout": _ASYNC_IDLE_MILLISECONDS,
    }
    options = {**_POOL, "pool_timeout": seconds}
    made = connecting.async_engine(settings.database(), application, chosen, **options)
    _ping_the_rested(made.sync_engine)
    return made


def _ping_the_rested(made: Engine) -> None:
    """Ask a connection whether it is still there, but only where it has rested."""

    def note(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[_RETURNED] = time.monotonic()

    def ask(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        returned_at = record.info.get(_RETURNED)
        if returned_at is None or time.monotonic() - returned_at < _RESTED_SECONDS:
            return
        try:
            made.dialect.do_ping(connection)
        except made.dialect.loaded_dbapi.Error as gone:
            # The others, which are as old, most likely are too.
            raise InvalidatePoolError("the connection is gone") from gone

    event.listen(made, "checkin", note)
    event.listen(made, "checkout", ask)
