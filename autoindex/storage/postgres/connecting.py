"""What every connection to PostgreSQL relies on, whoever opens it and whatever is in between."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from autoindex.storage.postgres import transient

# libpq's own, none of which reaches the server or a pooler. A peer that has gone without a word is
# found out within half a minute; a server that takes no writes counts as one that does not answer.
_LIBPQ: Final[Mapping[str, Any]] = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "target_session_attrs": "read-write",
}
# What a role or a database may set otherwise. By statement, since a pooler refuses or drops what
# comes with the start of a connection. Milliseconds, except for the keepalives' seconds.
_PINNED: Final[Mapping[str, str]] = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "search_path": '"$user", public',
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    # So that the server, too, finds out a client that has gone without a word, and its locks end.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_SINCE_17: Final[Mapping[str, str]] = {"transaction_timeout": "0"}
_VERSION_17: Final = 170_000


def engine(
    url: str, application: str, chosen: Mapping[str, str] | None = None, **options: Any
) -> Engine:
    """A pool of connections; `application` is their name in `pg_stat_activity`.

    `chosen` are settings of PostgreSQL that differ from what we otherwise rely on. Errors do not
    show the values of a statement, which may be secret.
    """
    made = create_engine(url, connect_args=dict(_LIBPQ), hide_parameters=True, **options)
    _prepare(made, application, chosen or {})
    return made


def async_engine(
    url: str, application: str, chosen: Mapping[str, str] | None = None, **options: Any
) -> AsyncEngine:
    """The same for asyncio."""
    made = create_async_engine(url, connect_args=dict(_LIBPQ), hide_parameters=True, **options)
    _prepare(made.sync_engine, application, chosen or {})
    return made


@asynccontextmanager
async def connected(
    url: str, application: str, chosen: Mapping[str, str] | None = None
) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection of no pool, for what lasts longer than a transaction; in autocommit mode."""
    async with await psycopg.AsyncConnection.connect(
        **parameters(url), autocommit=True
    ) as connection:
        await connection.execute(*_pinning(connection.info, application, chosen or {}))
        yield connection


def parameters(url: str) -> dict[str, Any]:
    """What psycopg connects with, for a URL of SQLAlchemy's."""
    parsed = make_url(url)
    _, values = parsed.get_dialect()().create_connect_args(parsed)
    return {**values, **_LIBPQ}


def _pinning(
    info: psycopg.ConnectionInfo, application: str, chosen: Mapping[str, str]
) -> tuple[str, list[str]]:
    """The one statement that makes a new connection as we rely on it, and its values."""
    later = _SINCE_17 if info.server_version >= _VERSION_17 else {}
    wanted = {**_PINNED, **later, **chosen, "application_name": application}
    calls = ", ".join(["set_config(%s, %s, false)"] * len(wanted))
    return f"select {calls}", [word for pair in wanted.items() for word in pair]


def _prepare(made: Engine, application: str, chosen: Mapping[str, str]) -> None:
    def pin(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        info = cast("psycopg.Connection[Any]", record.driver_connection).info
        statement, values = _pinning(info, application, chosen)
        # In a transaction it would be undone with it.
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement, values)
        cursor.close()
        connection.autocommit = False

    event.listen(made, "connect", pin, insert=True)
    event.listen(made, "handle_error", transient.handle)
