"""Checkpoints: what a task's attempts pass on to the next one, its retries and finished work.

A task that waits for a retry, or whose process died, continues elsewhere under the same id.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.tables import checkpoints


def count_retry(connection: Connection, task_id: UUID, subtask: str) -> int:
    """Count one more retry of a subtask; how many it has had with this one."""
    new = insert(checkpoints).values(task_id=task_id, retries={subtask: 1})
    spent = func.coalesce(checkpoints.c.retries[subtask].as_integer(), 0)
    counted = new.on_conflict_do_update(
        index_elements=[checkpoints.c.task_id],
        set_={
            "retries": checkpoints.c.retries.op("||")(func.jsonb_build_object(subtask, spent + 1)),
            "updated_at": func.now(),
        },
    ).returning(checkpoints.c.retries[subtask].as_integer())
    count: int = connection.execute(counted).scalar_one()
    return count


def store(connection: Connection, task_id: UUID, done: Mapping[str, Any]) -> None:
    """Store the finished work, in the transaction that does it."""
    row = {"done": dict(done), "updated_at": func.now()}
    statement = insert(checkpoints).values(task_id=task_id, **row)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[checkpoints.c.task_id], set_=row)
    )


def hand_over(connection: Connection, task_id: UUID, done: Mapping[str, Any]) -> None:
    """Store the finished work for a next attempt, which has all its retries."""
    store(connection, task_id, done)
    mine = checkpoints.c.task_id == task_id
    connection.execute(update(checkpoints).where(mine).values(retries={}))


def load(connection: Connection, task_id: UUID) -> dict[str, Any]:
    """The work that earlier attempts have finished; empty in the first attempt."""
    query = select(checkpoints.c.done).where(checkpoints.c.task_id == task_id)
    found: dict[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return found or {}


def forget(connection: Connection, task_id: UUID) -> None:
    """Remove the checkpoint of a task that has ended: another run would start from scratch."""
    connection.execute(delete(checkpoints).where(checkpoints.c.task_id == task_id))


def forget_idle(connection: Connection, age: timedelta) -> int:
    """Remove checkpoints without a change for so long, whose tasks have ended; how many."""
    idle = checkpoints.c.updated_at < func.now() - age
    return connection.execute(delete(checkpoints).where(idle)).rowcount
