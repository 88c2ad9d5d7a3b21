"""Whether each connection has a session of PostgreSQL to itself, which a pooler may not give.

In PgBouncer's transaction mode two runs hold one lock, settings go to somebody else and no
notification comes; none of it is an error by itself.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, LiteralString
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.errors import LockNotAvailable

from autoindex.errors import ConfigurationError, PartUnavailable
from autoindex.settings import Settings
from autoindex.storage.postgres import connecting, locks

_NAME: Final = "autoindex-check"
_SECONDS: Final = 10.0
# A lock whose holder has gone is free at once, or never.
_WAIT: Final = {"lock_timeout": "2000"}
# The server may be stalled during one wait; the next begins once it has said so.
_WAITS: Final = 2
_REMEDY: Final = (
    "set pool_mode = session and server_reset_query = DISCARD ALL there, "
    "or connect to PostgreSQL directly: see AUTOINDEX_DATABASE_URL"
)


async def check(settings: Settings) -> None:
    """Try out on two connections what leases, locks and those who listen rely on.

    Raises `ConfigurationError` where it does not hold, `PartUnavailable` where the database does
    not answer.
    """
    url = settings.database()
    try:
        async with (
            asyncio.timeout(_SECONDS),
            connecting.connected(url, _NAME) as ours,
            connecting.connected(url, _NAME, _WAIT) as other,
        ):
            lost = await _lost(ours, other)
    except TimeoutError as error:
        reason = f"does not give two connections within {_SECONDS:.0f} s"
        raise PartUnavailable("The database", reason) from error
    except psycopg.OperationalError as error:
        raise PartUnavailable("The database", f"can't be used: {str(error).strip()}") from error
    if lost:
        raise ConfigurationError(
            f"{', '.join(lost)} do not hold through the pooler before PostgreSQL: {_REMEDY}"
        )


async def _lost(ours: AsyncConnection, other: AsyncConnection) -> list[str]:
    name = f"autoindex_{uuid4().hex}"
    key = [locks.key(name)]
    # No pooler knows this setting, and so carries it over to another session.
    mark = "select set_config('autoindex.mark', %s, false)"
    await _one(ours, mark, ["ours"])
    await _one(other, mark, ["other"])
    marked = await _one(ours, "select current_setting('autoindex.mark', true)")
    await ours.execute(sql.SQL("listen {}").format(sql.Identifier(name)))
    await other.execute(sql.SQL("notify {}").format(sql.Identifier(name)))
    # PostgreSQL tells a session of it before it answers that one's next question.
    await _one(ours, "select 1")
    heard = [one async for one in ours.notifies(timeout=0)]
    await _one(ours, "select pg_advisory_lock(%s)", key)
    shared = await _one(other, "select pg_try_advisory_lock(%s)", key)
    await ours.close()
    locked = not shared and await _is_free(other, key)
    held = {"settings": marked == "ours", "notifications": bool(heard), "locks": locked}
    return [what for what, holds in held.items() if not holds]


async def _is_free(connection: AsyncConnection, key: list[int]) -> bool:
    """Whether a lock ends with the connection that held it."""
    for _ in range(_WAITS):
        with suppress(LockNotAvailable):
            await _one(connection, "select pg_advisory_lock(%s)", key)
            return True
    return False


async def _one(
    connection: AsyncConnection, query: LiteralString, values: Sequence[Any] = ()
) -> Any:
    row = await (await connection.execute(query, values)).fetchone()
    return None if row is None else row[0]
