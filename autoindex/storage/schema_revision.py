"""Which revision the database's tables are at, and which one this version of Autoindex needs."""

from typing import Final

from sqlalchemy import Connection, text

from autoindex.errors import ConfigurationError

REVISION: Final = "0018"
"""The newest migration's. `autoindex migrate` brings the tables to it."""


def check(connection: Connection) -> None:
    """Raise `ConfigurationError` where the tables are those of another version."""
    found = connection.execute(text("select version_num from alembic_version")).scalar_one()
    if found < REVISION:
        raise ConfigurationError(
            f"the database's tables are at revision {found}, and this version needs {REVISION}: "
            "run its `autoindex migrate`"
        )
    if found > REVISION:
        raise ConfigurationError(
            f"the database's tables are at revision {found}, and this version knows them up to "
            f"{REVISION}: start the newer version here"
        )
