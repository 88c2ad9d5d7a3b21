"""The database that a work pool belongs to, as the pool's description names it."""

import re
from typing import Final

from sqlalchemy import Connection, text

from autoindex.errors import ConfigurationError

# A row of a table would be copied with the database; these numbers differ for a copy.
_OURS: Final = text(
    "select datname, system_identifier::text || '-' || oid "
    "from pg_database, pg_control_system() where datname = current_database()"
)
_NAMED: Final = re.compile(r"the database (?P<database>.+ \((?P<identity>\d+-\d+)\))")


def description(connection: Connection) -> str:
    """The description of a pool whose runs use this database."""
    name, identity = connection.execute(_OURS).one()
    return f"Runs of Autoindex, which use the database {name} ({identity})"


def check(ours: str, pools: str) -> None:
    """Raise `ConfigurationError` where a pool's description names another database than ours.

    A pool that names none was made by an earlier version, or described by hand.
    """
    own, other = _NAMED.search(ours), _NAMED.search(pools)
    if own is None or other is None or own["identity"] == other["identity"]:
        return
    raise ConfigurationError(
        f"the work pool's runs use the database {other['database']}, and AUTOINDEX_DATABASE_URL "
        f"names {own['database']}: set it to that one, or give the pool to this one with "
        "`autoindex bootstrap` and restart every worker and facade"
    )
