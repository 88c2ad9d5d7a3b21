"""Task results: JSON that expires, in a row that stays as long as its run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.tables import task_results


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a task returned; `result` is None from `expires_at` on."""

    task_id: UUID
    kind: str
    result: Mapping[str, Any] | None
    expires_at: datetime


def store(
    connection: Connection,
    task_id: UUID,
    kind: str,
    result: Mapping[str, Any],
    now: datetime,
    lifetime: timedelta,
) -> None:
    """Store a task's result; a second run of the same task replaces it."""
    row = {"kind": kind, "result": dict(result), "created_at": now, "expires_at": now + lifetime}
    statement = insert(task_results).values(task_id=task_id, **row)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[task_results.c.task_id], set_=row)
    )


def read(connection: Connection, task_id: UUID, now: datetime) -> StoredResult | None:
    """A task's result as of `now`; None where the task has stored none."""
    return read_many(connection, [task_id], now).get(task_id)


def read_many(
    connection: Connection, task_ids: Collection[UUID], now: datetime
) -> dict[UUID, StoredResult]:
    """The results of the tasks that have stored one, as of `now`."""
    rows = connection.execute(select(task_results).where(task_results.c.task_id.in_(task_ids)))
    return {
        row.task_id: StoredResult(
            row.task_id, row.kind, row.result if now < row.expires_at else None, row.expires_at
        )
        for row in rows
    }
