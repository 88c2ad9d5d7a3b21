"""Tasks that several users have asked for: each may cancel their part.

A task's owner is the user who started it. The others, and who has cancelled, are in the audit.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.postgres import locks
from autoindex.storage.runs import cancellations

JOIN: Final = "join task"
LEAVE: Final = "leave task"
CANCEL: Final = "cancel task"
"""By the last user who wanted the task, or by an administrator: it ends for everybody."""

# The newest act of each user.
_ACTS: Final = text("""
    select distinct on (subject, user_name) cast(subject as uuid), user_name, action, at
    from audit
    where subject = any(:subjects) and action in ('join task', 'leave task', 'cancel task')
    order by subject, user_name, id desc
""")

Acts = Mapping[str, tuple[str, datetime]]


def join(connection: Connection, author: Author, task_id: UUID, owner: str | None) -> bool:
    """Add a user to those who want a task; False where it was cancelled for everybody."""
    acts = _locked(connection, [task_id])[task_id]
    if any(action == CANCEL for action, _ in acts.values()):
        return False
    if author.user not in _wanting(acts, owner):
        audit.record(connection, author, JOIN, task_id)
    return True


def cancel(
    connection: Connection,
    author: Author,
    owners: Mapping[UUID, str | None],
    *,
    for_all: bool = False,
) -> list[UUID]:
    """Cancel a user's part of tasks, or all parts; the tasks that nobody wants afterwards."""
    acts, over = _locked(connection, list(owners)), []
    entries: dict[str, list[audit.Act]] = {CANCEL: [], LEAVE: []}
    for task_id, owner in owners.items():
        wanting = _wanting(acts[task_id], owner)
        left = set() if for_all else wanting - {author.user}
        if not left:
            over.append(task_id)
        if left != wanting or not left:
            before, after = ({"wanted_by": sorted(users)} for users in (wanting, left))
            entries[LEAVE if left else CANCEL].append((str(task_id), before, after))
    for action, made in entries.items():
        audit.record_all(connection, author, action, made)
    cancellations.note(connection, over)
    return over


def left(connection: Connection, task_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, datetime]]:
    """Who has cancelled their part of which task, and when."""
    return {
        task_id: {user: at for user, (action, at) in acts.items() if action == LEAVE}
        for task_id, acts in _acts(connection, task_ids).items()
    }


def told(connection: Connection, task_id: UUID, owner: str | None) -> set[str] | None:
    """Who hears of a task's end: all who have asked for it and not left; None is everybody."""
    if owner is None:
        return None
    acts = _acts(connection, [task_id])[task_id]
    return {user for user, (action, _) in acts.items() if action != LEAVE} | ({owner} - acts.keys())


def has_asked(connection: Connection, task_id: UUID, user: str) -> bool:
    """Whether a user has joined a task."""
    return user in _acts(connection, [task_id])[task_id]


def _locked(connection: Connection, task_ids: Sequence[UUID]) -> Mapping[UUID, Acts]:
    """The acts, which nobody else can add to until the transaction ends."""
    for task_id in sorted(task_ids):  # two callers do not wait for each other
        locks.until_commit(connection, f"task {task_id}")
    return _acts(connection, task_ids)


def _acts(connection: Connection, task_ids: Sequence[UUID]) -> Mapping[UUID, Acts]:
    found: defaultdict[UUID, dict[str, tuple[str, datetime]]] = defaultdict(dict)
    subjects = {"subjects": [str(task_id) for task_id in task_ids]}
    for task_id, user, action, at in connection.execute(_ACTS, subjects):
        found[task_id][user] = action, at
    return found


def _wanting(acts: Acts, owner: str | None) -> set[str]:
    joined = {user for user, (action, _) in acts.items() if action == JOIN}
    return joined if owner is None or owner in acts else joined | {owner}
