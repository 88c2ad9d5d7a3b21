"""Deliveries of reports by mail: claims to send one, and their outcomes.

Claim, commit, send, mark, commit. A process that dies in between leaves a claim without an outcome:
whether the mail was sent is unknown, and it is not sent again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.tables import deliveries

Outcome = Literal["sent", "refused", "unknown"]
Status = Literal["claimed", "sent", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One report's mail to one recipient."""

    task_id: UUID
    recipient: str
    message_id: str
    status: Status
    claimed_at: datetime
    sent_at: datetime | None


def claim(connection: Connection, task_id: UUID, recipient: str, message_id: str) -> bool:
    """Whether the caller may send; commit before sending.

    An earlier claim without an outcome is marked `unknown`: its holder died, or is still sending
    and will mark it.
    """
    values = {"task_id": task_id, "recipient": recipient, "message_id": message_id}
    new = insert(deliveries).values(**values, status="claimed")
    won = new.on_conflict_do_nothing().returning(deliveries.c.task_id)
    if connection.execute(won).one_or_none() is not None:
        return True
    unfinished = and_(_is(task_id, recipient), deliveries.c.status == "claimed")
    connection.execute(update(deliveries).where(unfinished).values(status="unknown"))
    return False


def mark(connection: Connection, task_id: UUID, recipient: str, status: Outcome) -> None:
    """Store the outcome of a claimed mail; one that was sent stays sent."""
    sent_at = func.now() if status == "sent" else None
    unsent = and_(_is(task_id, recipient), deliveries.c.status != "sent")
    connection.execute(update(deliveries).where(unsent).values(status=status, sent_at=sent_at))


def release(connection: Connection, task_id: UUID, recipient: str) -> bool:
    """Release a claim, so that a later attempt can send; whether there was one.

    Only for the holder of the claim, where the mail server accepted nothing.
    """
    open_ = deliveries.c.status.in_(("claimed", "unknown"))
    held = and_(_is(task_id, recipient), open_)
    return connection.execute(delete(deliveries).where(held)).rowcount == 1


def find(connection: Connection, task_id: UUID, recipient: str) -> Delivery | None:
    """The mail of a task to a recipient; None where nobody has claimed it."""
    row = connection.execute(select(deliveries).where(_is(task_id, recipient))).one_or_none()
    return None if row is None else Delivery(**row._mapping)


def forget(connection: Connection, task_ids: Sequence[UUID]) -> int:
    """Remove the rows of tasks that will never run again; how many."""
    chosen = deliveries.c.task_id.in_(list(task_ids))
    return connection.execute(delete(deliveries).where(chosen)).rowcount


def older_than(instant: datetime) -> Select[tuple[UUID]]:
    """The tasks whose mails were claimed before `instant`."""
    return select(deliveries.c.task_id).where(deliveries.c.claimed_at < instant).distinct()


def _is(task_id: UUID, recipient: str) -> ColumnElement[bool]:
    return and_(deliveries.c.task_id == task_id, deliveries.c.recipient == recipient)
