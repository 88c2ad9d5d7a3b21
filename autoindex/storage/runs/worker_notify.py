"""Wake the workers by PostgreSQL's NOTIFY, so that no task waits for the next poll."""

from typing import Final

from sqlalchemy import Connection, text

CHANNEL: Final = "autoindex_work"


def notify(connection: Connection) -> None:
    """Wake every worker that listens, once the transaction is committed."""
    connection.execute(text(f"notify {CHANNEL}"))
