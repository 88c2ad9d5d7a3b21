"""The command line's connection to the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import InsufficientPrivilege, UndefinedTable
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, ProgrammingError

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from autoindex.storage.postgres import engines


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """One transaction; raises `ConfigurationError` if the database does not answer."""
    engine = engines.engine(settings, "autoindex-cli")
    try:
        with answering(settings), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """Raise `ConfigurationError`, with the setting to look at, if the database does not answer."""
    try:
        yield
    except ProgrammingError as error:
        if isinstance(error.orig, UndefinedTable):
            reason = "the database lacks tables: run `autoindex bootstrap`"
        elif isinstance(error.orig, InsufficientPrivilege):
            reason = f"the database refuses us: see AUTOINDEX_DATABASE_URL\n{error.orig}"
        else:
            raise
        raise ConfigurationError(reason) from error
    except OperationalError as error:
        where = (
            f"the embedded PostgreSQL in {settings.data_dir}: start it with `make up`, "
            "or set AUTOINDEX_DATA_DIR to the folder of the stack that is running"
            if settings.embedded
            else "PostgreSQL: see AUTOINDEX_DATABASE_URL"
        )
        raise ConfigurationError(f"can't use {where}\n{error.orig}") from error
