"""Bookings: which run a request has asked for, so that the same request asks for the same run.

A booking is committed before its run is created, and the run is created under the booking's
`run_key`: Prefect makes one run of a key, however often it is asked. So whoever dies in between, or
asks at the same moment, ends with one run.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection, case, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import Insert, insert

from autoindex.storage.tables import bookings, leases, task_results


@dataclass(frozen=True, slots=True)
class Booking:
    """What a key stands for; `task_id` is None until the run is known to exist."""

    key: str
    asked: str
    run_key: UUID
    task_id: UUID | None


def book(connection: Connection, key: str, asked: str) -> Booking:
    """The booking of a key for good: the first request's, also where `asked` differs."""
    new = _new(key, asked)
    # An update that changes nothing, since only then does the row that was there come back.
    return _one(connection, new.on_conflict_do_update(index_elements=["key"], set_={"key": key}))


def book_while_queued(connection: Connection, key: str) -> Booking:
    """The booking of a piece of work; a new one where its run is known to have begun or ended.

    Not every run that has left the queue is known here: see `renew`.
    """
    new = _new(key, key)
    left = or_(
        exists().where(leases.c.task_id == bookings.c.task_id),
        exists().where(task_results.c.task_id == bookings.c.task_id),
    )
    return _one(
        connection,
        new.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "run_key": case((left, new.excluded.run_key), else_=bookings.c.run_key),
                "task_id": case((left, None), else_=bookings.c.task_id),
                "booked_at": func.now(),
            },
        ),
    )


def renew(connection: Connection, booking: Booking) -> Booking:
    """Another run for a booking whose run has left the queue; of several who ask, all get one."""
    mine = update(bookings).where(
        bookings.c.key == booking.key, bookings.c.run_key == booking.run_key
    )
    connection.execute(mine.values(run_key=uuid4(), task_id=None, booked_at=func.now()))
    query = select(*_COLUMNS).where(bookings.c.key == booking.key)
    row = connection.execute(query).one_or_none()
    return book_while_queued(connection, booking.key) if row is None else Booking(*row)


def settle(connection: Connection, booking: Booking, task_id: UUID) -> None:
    """Note which task came of a booking."""
    connection.execute(
        update(bookings)
        .where(bookings.c.key == booking.key, bookings.c.run_key == booking.run_key)
        .values(task_id=task_id)
    )


def count_before(connection: Connection, instant: datetime) -> int:
    """How many bookings were made before `instant`."""
    query = select(func.count()).where(bookings.c.booked_at < instant)
    return connection.execute(query).scalar_one()


def forget_before(connection: Connection, instant: datetime) -> int:
    """Remove the bookings made before `instant`; how many."""
    return connection.execute(delete(bookings).where(bookings.c.booked_at < instant)).rowcount


_COLUMNS = (bookings.c.key, bookings.c.asked, bookings.c.run_key, bookings.c.task_id)


def _new(key: str, asked: str) -> Insert:
    return insert(bookings).values(key=key, asked=asked, run_key=uuid4())


def _one(connection: Connection, statement: Insert) -> Booking:
    return Booking(*connection.execute(statement.returning(*_COLUMNS)).one())
