"""Progress and log lines of running tasks, with a notification of each change.

Every change notifies `CHANNEL` with the task's id when its transaction commits. A task's lines are
numbered under the lock of its row, so that a reader of number n has missed none before it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Connection,
    Integer,
    String,
    Uuid,
    cast,
    column,
    delete,
    func,
    insert,
    select,
    text,
    values,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from autoindex.storage.tables import task_lines, task_progress

CHANNEL: Final = "autoindex_progress"
# A task logs some dozens of lines; any beyond this are only in Prefect's log.
MOST_LINES: Final = 1_000
LONGEST_LINE: Final = 500
_KEPT_FOR: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a task's newest attempt; `completed` of `total` counts `what`.

    `updated_at` is when that changed; a line does not change it.
    """

    step: str | None
    completed: int | None
    total: int | None
    what: str | None
    lines: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """One log line of a task; numbers count from 1."""

    number: int
    at: datetime
    level: str
    text: str


# A text: building and compiling this statement takes longer than running it.
_READ: Final = text("""
    select task_id, step, completed, total, what, lines, updated_at
    from task_progress where task_id = any(:task_ids)
""")


def begin(connection: Connection, task_id: UUID, now: datetime) -> None:
    """Start an attempt: nothing is done yet, and lines continue those of earlier attempts.

    Tasks without a change for a week are removed.
    """
    stale = task_progress.c.updated_at < now - _KEPT_FOR
    connection.execute(delete(task_progress).where(stale, task_progress.c.task_id != task_id))
    _change(connection, task_id, now, step=None, completed=None, total=None, what=None)


def enter(connection: Connection, task_id: UUID, step: str, now: datetime) -> None:
    """Store which step is running."""
    _change(connection, task_id, now, step=step)


def count(
    connection: Connection, task_id: UUID, completed: int, total: int, what: str, now: datetime
) -> None:
    """Store how much of a step is done."""
    _change(connection, task_id, now, completed=completed, total=total, what=what)


def say(connection: Connection, task_id: UUID, level: str, line: str, now: datetime) -> None:
    """Add a line, cut to `LONGEST_LINE` characters; nothing beyond `MOST_LINES` is kept."""
    number = _change(connection, task_id, now, lines=task_progress.c.lines + 1)
    if number <= MOST_LINES:
        cut = line[:LONGEST_LINE].replace("\0", "")
        row = {"task_id": task_id, "number": number, "at": now, "level": level, "text": cut}
        connection.execute(insert(task_lines).values(row))


def read(connection: Connection, task_ids: Collection[UUID]) -> dict[UUID, Progress]:
    """The progress of the tasks that have stored any."""
    found = connection.execute(_READ, {"task_ids": list(task_ids)})
    return {task_id: Progress(*told) for task_id, *told in found}


def lines_after(connection: Connection, numbers: Mapping[UUID, int]) -> dict[UUID, Sequence[Line]]:
    """The lines of each task after its number in `numbers`, in order."""
    if not numbers:
        return {}
    known = values(column("task_id", Uuid), column("after", Integer), name="known")
    known = known.data([(task_id, number) for task_id, number in numbers.items()])
    query = (
        select(task_lines)
        .join(known, task_lines.c.task_id == known.c.task_id)
        .where(task_lines.c.number > known.c.after)
        .order_by(task_lines.c.task_id, task_lines.c.number)
    )
    found: dict[UUID, list[Line]] = {}
    for row in connection.execute(query):
        line = Line(row.number, row.at, row.level, row.text)
        found.setdefault(row.task_id, []).append(line)
    return dict(found)


def _change(connection: Connection, task_id: UUID, now: datetime, **changed: Any) -> int:
    """Change a task's row, created where missing, and notify; how many lines it has."""
    # Progress may be lost in a crash of the server, so it need not wait for the disk.
    connection.execute(text("set local synchronous_commit to off"))
    first = {name: 1 if name == "lines" else value for name, value in changed.items()}
    row = upsert(task_progress).values(task_id=task_id, updated_at=now, **first)
    at = {} if "lines" in changed else {"updated_at": now}
    row = row.on_conflict_do_update(
        index_elements=[task_progress.c.task_id], set_={**changed, **at}
    )
    lines: int = connection.execute(row.returning(task_progress.c.lines)).scalar_one()
    connection.execute(select(func.pg_notify(CHANNEL, cast(str(task_id), String))))
    return lines
