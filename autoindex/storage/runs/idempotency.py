"""Idempotency keys: a booking says which run a request has, so that a repeated one gets the same.

A booking is committed before its run is created, under the booking's `run_key`: Prefect creates one
run for a key, however often it is asked. So a process that dies in between, or concurrent requests,
end with one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import (
    Connection,
    Select,
    TextClause,
    delete,
    func,
    select,
    text,
    tuple_,
    update,
)

from autoindex.storage.tables import bookings

UNKNOWN_FOR: Final = timedelta(minutes=5)
"""How long a repeated request finds a task that may have been created."""


@dataclass(frozen=True, slots=True)
class Booking:
    """What a key stands for; `task_id` is None until the run is known to exist.

    It is new where this call has drawn its run.
    """

    key: str
    asked: str
    run_key: UUID
    task_id: UUID | None
    new: bool = field(default=False, compare=False)


# Texts: building and compiling these statements takes longer than running them.
_BOOK = text("""
    insert into bookings (key, asked, run_key) values (:key, :asked, :run_key)
    -- Changes nothing: only for an update does the row that was there come back.
    on conflict (key) do update set key = excluded.key
    returning key, asked, run_key, task_id
""")
_BOOK_WHILE_QUEUED = text("""
    insert into bookings as mine (key, asked, run_key) values (:key, :asked, :run_key)
    on conflict (key) do update
    set (run_key, task_id, booked_at) = (
        select case when left_queue then excluded.run_key else mine.run_key end,
               case when left_queue then null else mine.task_id end,
               now()
        from (
            select exists (select from leases where task_id = mine.task_id)
                or exists (select from task_results where task_id = mine.task_id) as left_queue
        ) as looked_up
    )
    returning key, asked, run_key, task_id
""")
_BOOK_UNTIL_KNOWN = text("""
    insert into bookings as mine (key, asked, run_key) values (:key, :asked, :run_key)
    on conflict (key) do update
    set (run_key, task_id, booked_at) = (
        select case when is_over then excluded.run_key else mine.run_key end,
               cast(null as uuid),
               case when is_over then now() else mine.booked_at end
        from (
            select mine.task_id is not null or mine.booked_at < now() - :unknown_for as is_over
        ) as looked_up
    )
    returning key, asked, run_key, task_id
""").bindparams(unknown_for=UNKNOWN_FOR)
_SETTLE = text("update bookings set task_id = :task_id where key = :key and run_key = :run_key")


def book(connection: Connection, key: str, asked: str) -> Booking:
    """The permanent booking of a key: the first request's, also where `asked` differs."""
    return _booked(connection, _BOOK, key, asked)


def is_booked(connection: Connection, key: str, asked: str) -> bool:
    """Whether a key is booked for this request."""
    mine = (bookings.c.key == key) & (bookings.c.asked == asked)
    return connection.scalar(select(bookings.c.run_key).where(mine)) is not None


def book_while_queued(connection: Connection, key: str) -> Booking:
    """The booking of a piece of work; a new one where its run is known to have begun or ended.

    Not every run that has left the queue is known here: see `renew`.
    """
    return _booked(connection, _BOOK_WHILE_QUEUED, key, key)


def book_until_known(connection: Connection, key: str) -> Booking:
    """The booking of one request; a new one where its task is known, or it is minutes old."""
    return _booked(connection, _BOOK_UNTIL_KNOWN, key, key)


def renew(connection: Connection, booking: Booking) -> Booking:
    """Another run for a booking whose run has left the queue; concurrent callers get the same."""
    mine = update(bookings).where(
        bookings.c.key == booking.key, bookings.c.run_key == booking.run_key
    )
    drawn = uuid4()
    connection.execute(mine.values(run_key=drawn, task_id=None, booked_at=func.now()))
    columns = (bookings.c.key, bookings.c.asked, bookings.c.run_key, bookings.c.task_id)
    query = select(*columns).where(bookings.c.key == booking.key)
    row = connection.execute(query).one_or_none()
    if row is None:
        return book_while_queued(connection, booking.key)
    return replace(Booking(*row), new=row.run_key == drawn)


def settle(connection: Connection, booking: Booking, task_id: UUID) -> None:
    """Store the task of a booking."""
    names = {"key": booking.key, "run_key": booking.run_key, "task_id": task_id}
    connection.execute(_SETTLE, names)


def older_than(instant: datetime) -> Select[tuple[str, UUID]]:
    """The key and the run of every booking made before `instant`."""
    return select(bookings.c.key, bookings.c.run_key).where(bookings.c.booked_at < instant)


def forget(connection: Connection, chosen: Sequence[tuple[str, UUID]]) -> int:
    """Remove bookings, given by key and run, unless they have another run now; how many."""
    which = tuple_(bookings.c.key, bookings.c.run_key).in_(chosen)
    return connection.execute(delete(bookings).where(which)).rowcount


def _booked(connection: Connection, statement: TextClause, key: str, asked: str) -> Booking:
    values = {"key": key, "asked": asked, "run_key": uuid4()}
    row = connection.execute(statement, values).one()
    return replace(Booking(*row), new=row.run_key == values["run_key"])
