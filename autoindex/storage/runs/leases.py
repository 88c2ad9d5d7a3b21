"""Leases: which worker holds a running task, with a token that fences former holders.

A lease that is not renewed expires, and another worker may seize it; every holder gets a higher
token. Writes for a task check first that their token is the newest: see
`autoindex.storage.runs.fence`. All instants are the database's: the hosts' clocks don't matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.tables import leases


@dataclass(frozen=True, slots=True)
class Lease:
    """A task as held by one worker; `deaths` counts the attempts whose process died."""

    task_id: UUID
    token: int
    holder: str | None
    deaths: int

    @property
    def is_first(self) -> bool:
        """Whether nobody has held the task before."""
        return self.token == 1


def take(connection: Connection, task_id: UUID, holder: str, lifetime: timedelta) -> Lease | None:
    """Take the lease of a task; None where another worker's lease is still valid."""
    new = insert(leases).values(
        task_id=task_id, token=1, holder=holder, expires_at=_in(lifetime), deaths=0
    )
    taken = new.on_conflict_do_update(
        index_elements=[leases.c.task_id],
        set_={
            "token": leases.c.token + 1,
            "holder": new.excluded.holder,
            "expires_at": new.excluded.expires_at,
        },
        where=leases.c.holder.is_(None) | (leases.c.expires_at < func.now()),
    )
    return _one(connection, taken)


def renew(
    connection: Connection, tokens: Mapping[UUID, int], lifetime: timedelta
) -> frozenset[UUID]:
    """Extend leases, given as token by task; the tasks whose lease is lost to another holder."""
    statement = text(
        "update leases set expires_at = now() + :lifetime"
        " from unnest(cast(:ids as uuid[]), cast(:tokens as bigint[])) as mine(task_id, token)"
        " where leases.task_id = mine.task_id and leases.token = mine.token"
        " returning leases.task_id"
    )
    values = {"ids": list(tokens), "tokens": list(tokens.values()), "lifetime": lifetime}
    kept = connection.execute(statement, values).scalars()
    return frozenset(tokens) - frozenset(kept)


def give_back(connection: Connection, lease: Lease, *, died: bool = False) -> bool:
    """Release a task that will continue elsewhere; False where the lease was lost before."""
    values = {"holder": None, "expires_at": func.now(), "deaths": leases.c.deaths + int(died)}
    held = and_(_is(lease), leases.c.holder.is_not(None))
    return connection.execute(update(leases).where(held).values(values)).rowcount == 1


def end(connection: Connection, lease: Lease) -> bool:
    """Release a task that has ended; False where the lease was lost before.

    Its tokens stay used until the row is removed: if the task runs again, those of former holders
    are invalid.
    """
    values = {
        "holder": None,
        "token": leases.c.token + 1,
        "expires_at": func.now(),
        "deaths": 0,
    }
    return connection.execute(update(leases).where(_is(lease)).values(values)).rowcount == 1


def expired(connection: Connection) -> list[Lease]:
    """Leases whose holder has not renewed them in time, the oldest first."""
    query = (
        select(leases)
        .where(leases.c.holder.is_not(None), leases.c.expires_at < func.now())
        .order_by(leases.c.expires_at)
    )
    return [_lease(row) for row in connection.execute(query)]


def seize(connection: Connection, lost: Lease, holder: str, lifetime: timedelta) -> Lease | None:
    """Take over an expired lease; None where its holder or another worker was first.

    The former holder's token is refused from then on.
    """
    statement = (
        update(leases)
        .where(_is(lost), leases.c.expires_at < func.now())
        .values(token=leases.c.token + 1, holder=holder, expires_at=_in(lifetime))
    )
    return _one(connection, statement)


def held(connection: Connection, task_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Which of these tasks a worker holds, or has held until its lease expired."""
    query = select(leases.c.task_id).where(
        leases.c.task_id.in_(list(task_ids)), leases.c.holder.is_not(None)
    )
    return frozenset(connection.execute(query).scalars())


def forget_idle(connection: Connection, age: timedelta) -> int:
    """Remove rows that nobody has held for so long; how many."""
    idle = and_(leases.c.holder.is_(None), leases.c.expires_at < func.now() - age)
    return connection.execute(delete(leases).where(idle)).rowcount


def _is(lease: Lease) -> ColumnElement[bool]:
    return and_(leases.c.task_id == lease.task_id, leases.c.token == lease.token)


def _in(lifetime: timedelta) -> ColumnElement[datetime]:
    return func.now() + lifetime


def _one(connection: Connection, statement: object) -> Lease | None:
    row = connection.execute(statement.returning(leases)).one_or_none()  # type: ignore[attr-defined]
    return None if row is None else _lease(row)


def _lease(row: object) -> Lease:
    return Lease(row.task_id, row.token, row.holder, row.deaths)  # type: ignore[attr-defined]
