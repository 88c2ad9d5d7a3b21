"""What PostgreSQL tells by itself: notifications, over one connection that is kept open."""

from collections.abc import AsyncGenerator

import psycopg
from psycopg import AsyncConnection, sql

from autoindex.errors import PartUnavailable
from autoindex.settings import Settings
from autoindex.storage import connecting


async def notifications(
    settings: Settings, channel: str, application: str = "autoindex-api-listener"
) -> AsyncGenerator[str | None]:
    """None once it listens, then the payload of every notification, until it is closed.

    None that is committed after the first None is missed; raises `PartUnavailable` where there is
    no connection, or no longer.
    """
    where = connecting.conninfo(settings.database())
    try:
        connection = await AsyncConnection.connect(where, autocommit=True, **connecting.LIBPQ)
        async with connection:
            await connection.execute(*connecting.pinning(connection.info, application))
            await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            yield None
            async for told in connection.notifies():
                yield told.payload
    except psycopg.OperationalError as error:
        raise PartUnavailable("The database") from error
