"""What PostgreSQL tells by itself: notifications, over one connection that is kept open."""

from collections.abc import AsyncGenerator
from typing import Final

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import make_url

from autoindex.errors import PartUnavailable
from autoindex.settings import Settings

# A server that has gone without a word is found out after about half a minute.
_PATIENCE: Final = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


async def notifications(
    settings: Settings, channel: str, application: str = "autoindex-api-listener"
) -> AsyncGenerator[str | None]:
    """None once it listens, then the payload of every notification, until it is closed.

    None that is committed after the first None is missed; raises `PartUnavailable` where there is
    no connection, or no longer.
    """
    url = make_url(settings.database()).set(drivername="postgresql")
    where = make_conninfo(
        url.render_as_string(hide_password=False), application_name=application, **_PATIENCE
    )
    try:
        connection = await AsyncConnection.connect(where, autocommit=True)
        async with connection:
            await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            yield None
            async for told in connection.notifies():
                yield told.payload
    except psycopg.OperationalError as error:
        raise PartUnavailable("The database") from error
