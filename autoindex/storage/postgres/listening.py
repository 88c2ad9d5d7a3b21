"""What PostgreSQL tells by itself: notifications, over one connection that is kept open."""

from collections.abc import AsyncGenerator

import psycopg
from psycopg import sql

from autoindex.errors import PartUnavailable
from autoindex.settings import Settings
from autoindex.storage.postgres import connecting


async def notifications(
    settings: Settings, channel: str, application: str = "autoindex-api-listener"
) -> AsyncGenerator[str | None]:
    """None once it listens, then the payload of every notification, until it is closed.

    None that is committed after the first None is missed; raises `PartUnavailable` where there is
    no connection, or no longer.
    """
    try:
        async with connecting.connected(settings.database(), application) as connection:
            await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            yield None
            async for told in connection.notifies():
                yield told.payload
    except psycopg.OperationalError as error:
        raise PartUnavailable("The database") from error
