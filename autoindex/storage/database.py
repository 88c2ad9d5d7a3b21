"""Connections to our PostgreSQL."""

from typing import Any, Final

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from autoindex.settings import Settings

_CONNECT_SECONDS: Final = 3
_POOL: Final[dict[str, Any]] = {
    "pool_size": 5,
    "max_overflow": 5,
    "pool_timeout": 4,
    # A server that was restarted in between costs one reconnect, not one failed task.
    "pool_pre_ping": True,
}


def engine(settings: Settings, application: str = "autoindex") -> Engine:
    """A pool of connections; `application` is shown in `pg_stat_activity`."""
    arguments = {"connect_timeout": _CONNECT_SECONDS, "application_name": application}
    return create_engine(settings.database(), connect_args=arguments, **_POOL)


def async_engine(settings: Settings, application: str = "autoindex-api") -> AsyncEngine:
    """The same for asyncio; a query of the facade may take 4 s, so that it never hangs."""
    arguments = {
        "connect_timeout": _CONNECT_SECONDS,
        "application_name": application,
        "options": "-c statement_timeout=4000",
    }
    return create_async_engine(settings.database(), connect_args=arguments, **_POOL)
