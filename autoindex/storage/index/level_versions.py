"""Versions of levels: when an index was first published, and what has changed since.

`publications` writes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from autoindex.requests import Frequency, Strategy

_FIRST: Final = text("""
    select published_at, last from publications
    where strategy = :strategy and frequency = :frequency order by id limit 1
""")
_HISTORY: Final = text("""
    with every as (
        select version, level, publication, missing from superseded_levels
        where strategy = :strategy and frequency = :frequency and session = :session
        union all
        select version, level, publication, missing from index_levels
        where strategy = :strategy and frequency = :frequency and session = :session
    )
    select every.version, every.level, p.published_at, p.cause, p.task_id, every.missing
    from every join publications p on p.id = case when every.publication > 0 then every.publication
        else (select min(id) from publications
              where strategy = :strategy and frequency = :frequency) end
    order by every.version
""")
# Each level is looked up by key: joins are slow where the tables have no statistics yet.
_SUPERSEDED: Final = text("""
    select old.session, old.level, coalesce(
        (select level from superseded_levels where strategy = :strategy and frequency = :frequency
            and session = old.session and version = old.version + 1),
        (select level from index_levels where strategy = :strategy and frequency = :frequency
            and session = old.session)
    ), p.cause, p.published_at
    from superseded_levels old join publications p on p.id = old.replaced_by
    where old.strategy = :strategy and old.frequency = :frequency and p.published_at >= :since
    order by p.id desc, old.session
""")
# One look into the primary key for each index.
_FINAL: Final = text("""
    select index.strategy, index.frequency, newest.session, newest.published_at
    from (
        select strategy, frequency, min(id) as first from publications group by 1, 2
    ) as index
    cross join lateral (
        select l.session, p.published_at
        from index_levels l join publications p on p.id = greatest(l.publication, index.first)
        where (l.strategy, l.frequency) = (index.strategy, index.frequency) and l.missing is null
        order by l.session desc limit 1
    ) as newest
""")


@dataclass(frozen=True, slots=True)
class Launch:
    """When an index was first published, and the last session of its back-test."""

    at: datetime
    session: date


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a level: since when it was published, why, and by which task.

    A provisional one names the symbols that it is missing.
    """

    version: int
    level: float
    published_at: datetime
    cause: str
    task_id: UUID | None
    missing: list[str] | None


@dataclass(frozen=True, slots=True)
class Superseded:
    """A published level that a publication has replaced, and by which level."""

    session: date
    old_level: float
    new_level: float
    cause: str
    published_at: datetime


@dataclass(frozen=True, slots=True)
class FinalSession:
    """A session with a final level, and when that was published."""

    strategy: Strategy
    frequency: Frequency
    session: date
    published_at: datetime


def newest_final(connection: Connection) -> Sequence[FinalSession]:
    """The newest final session of each published index."""
    return [FinalSession(*row) for row in connection.execute(_FINAL)]


def launch(connection: Connection, strategy: Strategy, frequency: Frequency) -> Launch | None:
    """When an index was first published; None where it was not."""
    row = connection.execute(_FIRST, {"strategy": strategy, "frequency": frequency}).one_or_none()
    return None if row is None else Launch(*row)


def history(
    connection: Connection, strategy: Strategy, frequency: Frequency, session: date
) -> Sequence[Version]:
    """Every version of the level of one session, oldest first."""
    which = {"strategy": strategy, "frequency": frequency, "session": session}
    return [Version(*row) for row in connection.execute(_HISTORY, which)]


def superseded(
    connection: Connection, strategy: Strategy, frequency: Frequency, since: datetime
) -> Sequence[Superseded]:
    """The levels that were replaced since an instant: newest publication first, by session."""
    which = {"strategy": strategy, "frequency": frequency, "since": since}
    return [Superseded(*row) for row in connection.execute(_SUPERSEDED, which)]
