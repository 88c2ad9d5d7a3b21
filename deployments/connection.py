"""The command line's connection to the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from autoindex.storage import database


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """One transaction; raises `ConfigurationError` where the database does not answer."""
    engine = database.engine(settings, "autoindex-cli")
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        where = (
            f"the embedded PostgreSQL in {settings.data_dir} (is `make up` running?)"
            if settings.embedded
            else "PostgreSQL (AUTOINDEX_DATABASE_URL)"
        )
        raise ConfigurationError(f"can't use {where}: {error.orig}") from error
    finally:
        engine.dispose()
