"""Tasks that were cancelled, until somebody has told of their end.

The facade notes one in the transaction that decides it. A worker removes it when the task has
ended, whether a worker held it or not.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, delete, select, text

from autoindex.storage.tables import cancellations

_NOTE: Final = text("""
    insert into cancellations (task_id) select unnest(cast(:ids as uuid[])) on conflict do nothing
""")


def note(connection: Connection, task_ids: Collection[UUID]) -> None:
    """Note tasks that are about to be cancelled."""
    if task_ids:
        connection.execute(_NOTE, {"ids": list(task_ids)})


def load(connection: Connection) -> list[UUID]:
    """The tasks whose end is still to be told, oldest first."""
    query = select(cancellations.c.task_id).order_by(cancellations.c.asked_at)
    return list(connection.execute(query).scalars())


def forget(connection: Connection, task_ids: Collection[UUID]) -> None:
    """Remove tasks that have ended."""
    ended = cancellations.c.task_id.in_(list(task_ids))
    connection.execute(delete(cancellations).where(ended))
