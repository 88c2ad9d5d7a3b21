"""Creates the database and upgrades its tables to the newest revision."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.exc import OperationalError

from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.postgres import connecting, locks

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def create_database(url: str) -> bool:
    """Create the database of `url` where it is missing; whether it was created.

    Creating it needs access to the server's database `postgres`.
    """
    if _is_there(url):
        return False
    target = make_url(url)
    name = target.database
    with _connected(target.set(database="postgres"), isolation_level="AUTOCOMMIT") as connection:
        # Held until the connection ends: two processes may come here at once.
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": locks.key("create")})
        found = text("select 1 from pg_database where datname = :name")
        if connection.execute(found, {"name": name}).scalar_one_or_none() is not None:
            return False
        quoted = connection.dialect.identifier_preparer.quote(str(name))
        connection.execute(text(f"create database {quoted}"))
        return True


def upgrade(url: str, by: str = "autoindex") -> str:
    """Apply every missing revision, one process at a time; the revision afterwards.

    `by` is who does it, for the audit.
    """
    with _connected(make_url(url)) as connection, connection.begin():
        locks.until_commit(connection, "migrate")
        config = Config()
        config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
        config.attributes["connection"] = connection
        old = revision(connection)
        command.upgrade(config, "head")
        new = revision(connection)
        if new != old:
            before, after = {"revision": old}, {"revision": new}
            audit.record(connection, Author(by), "migrate", before=before, after=after)
        return f"revision {new}"


def revision(connection: Connection) -> str | None:
    """The revision the database is at; None where there are no tables yet."""
    return MigrationContext.configure(connection).get_current_revision()


def _is_there(url: str) -> bool:
    try:
        with _connected(make_url(url)):
            return True
    except OperationalError:  # or the server is unreachable, which the next connection reports
        return False


@contextmanager
def _connected(url: URL, **options: Any) -> Iterator[Connection]:
    engine = connecting.engine(
        url.render_as_string(hide_password=False), "autoindex-set-up", **options
    )
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
