"""Create our database and bring its tables to the newest revision."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url, text

from autoindex.storage import locks

_SCRIPTS: Final = Path(__file__).parent / "migrations"
_CONNECT: Final = {"connect_timeout": 3}


def create_database(url: str) -> bool:
    """Create the database that `url` names where the server lacks it; whether it was made."""
    target = make_url(url)
    name = target.database
    engine = create_engine(
        target.set(database="postgres"), isolation_level="AUTOCOMMIT", connect_args=_CONNECT
    )
    try:
        with engine.connect() as connection:
            # Held until the connection ends: two processes may come here at once.
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": locks.key("create")})
            found = text("select 1 from pg_database where datname = :name")
            if connection.execute(found, {"name": name}).scalar_one_or_none() is not None:
                return False
            quoted = connection.dialect.identifier_preparer.quote(str(name))
            connection.execute(text(f"create database {quoted}"))
            return True
    finally:
        engine.dispose()


def upgrade(url: str) -> str:
    """Apply every revision the database lacks, one process at a time; the revision it has then."""
    engine = create_engine(url, connect_args=_CONNECT)
    try:
        with engine.begin() as connection:
            locks.until_commit(connection, "migrate")
            config = Config()
            config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return f"revision {revision(connection)}"
    finally:
        engine.dispose()


def revision(connection: Connection) -> str | None:
    """The revision the database is at; None where there are no tables yet."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str | None:
    """The newest revision there is."""
    return ScriptDirectory(str(_SCRIPTS)).get_current_head()
