"""Corrections: changes of what published levels were computed from, and what becomes of them.

A correction within the last published sessions is due: the next computation applies it. An older
one is pending until a computation is asked to start at its session, or before. So is one that needs
closes which a cleanup has removed. It is noted in the transaction that changes the data, so none is
lost where a computation fails.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, insert, text, update

from autoindex.requests import Frequency, Strategy
from autoindex.storage.tables import corrections
from autoindex.storage.universe import memberships

WINDOW_SESSIONS: Final = 10
"""How many of the newest published sessions a correction changes without being asked to."""

# A look-up by key for each index: the newest session, and the first of the window.
_PUBLISHED: Final = text("""
    select which.strategy, which.frequency, newest.session, coalesce((
        select session from index_levels l
        where l.strategy = which.strategy and l.frequency = which.frequency
        order by session desc offset :before limit 1
    ), date '0001-01-01'), (
        select min(session) from index_levels l
        where l.strategy = which.strategy and l.frequency = which.frequency
    )
    from (select distinct strategy, frequency from publications) as which
    cross join lateral (
        select session from index_levels l
        where l.strategy = which.strategy and l.frequency = which.frequency
        order by session desc limit 1
    ) as newest
""")
_OPEN: Final = text("""
    select c.id, a.symbol, c.session, c.reason, c.pending, c.effect
    from corrections c left join assets a on a.id = c.asset_id
    where c.strategy = :strategy and c.frequency = :frequency
    order by c.session, a.symbol, c.id
""")

CLOSES_CHANGED: Final = "closes changed"
HISTORY_RESTATED: Final = "history restated"
"""Reasons. A restated return is the return of all units since; a changed close is of its day."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A change of an asset from a session on; `symbol` is None where it is not known.

    `effect` is the largest relative change of a published level that it would make, None where it
    is not measured.
    """

    id: int
    symbol: str | None
    session: date
    reason: str
    pending: bool
    effect: float | None


def note(
    connection: Connection,
    changed: Mapping[int, NDArray[np.datetime64]],
    reason: str,
    window: int = WINDOW_SESSIONS,
) -> None:
    """Note that the closes of assets have changed on these sessions, for each published index.

    Sessions that an index has not published yet are no correction of it. An asset's sessions before
    it becomes a member count as its first one: no earlier level depends on it. Of what is left, the
    first in the window is noted, and the first before it.
    """
    published = connection.execute(_PUBLISHED, {"before": window - 1}).all()
    begun = memberships.begun(connection, changed) if published else {}
    rows: list[dict[str, Any]] = []
    for strategy, frequency, newest, begin, _ in published:
        for asset_id, days in changed.items():
            since = np.maximum(days, np.datetime64(begun.get(asset_id, date.max), "D"))
            known = since[since <= np.datetime64(newest)]
            recent = known >= np.datetime64(begin)
            for pending, some in ((True, known[~recent]), (False, known[recent])):
                if len(some):
                    row = {"strategy": strategy, "frequency": frequency, "asset_id": asset_id}
                    row |= {"session": some.min().item(), "reason": reason, "pending": pending}
                    rows.append(row)
    if rows:
        connection.execute(insert(corrections), rows)


def note_universe(
    connection: Connection,
    changed: Mapping[int, date],
    reason: str,
    window: int = WINDOW_SESSIONS,
) -> None:
    """Note that members or shares have changed from a published session on, by somebody's wish.

    What is older than an index counts as its first session.
    """
    published = connection.execute(_PUBLISHED, {"before": window - 1}).all()
    rows = [
        {"strategy": strategy, "frequency": frequency, "asset_id": asset_id, "reason": reason}
        | {"session": max(session, first), "pending": max(session, first) < begin}
        for strategy, frequency, newest, begin, first in published
        for asset_id, session in changed.items()
        if session <= newest
    ]
    if rows:
        connection.execute(insert(corrections), rows)


def load(connection: Connection, strategy: Strategy, frequency: Frequency) -> list[Correction]:
    """What is due and what is pending for an index, by session."""
    rows = connection.execute(_OPEN, {"strategy": strategy, "frequency": frequency})
    return [Correction(*row) for row in rows]


def applied(found: Sequence[Correction], start: date | None) -> list[Correction]:
    """What a computation applies that starts at `start`, or where it has to if that is None."""
    if start is None:
        return [one for one in found if not one.pending]
    return [one for one in found if one.session >= start]


def is_only_closes(
    found: Sequence[Correction], held: Collection[str], since: date, to: date
) -> bool:
    """Whether what is not applied of holdings since their decision are closes that have changed.

    What they were worth at `to` is then known by their units only.
    """
    open_ = [one for one in found if one.session <= to and one.symbol in held]
    restated = [one for one in open_ if one.reason == HISTORY_RESTATED and one.session > since]
    return not restated and any(one.reason == CLOSES_CHANGED for one in open_)


def remove(connection: Connection, done: Collection[Correction]) -> None:
    """Remove what a publication has applied."""
    if done:
        chosen = corrections.c.id.in_([one.id for one in done])
        connection.execute(delete(corrections).where(chosen))


def postpone(connection: Connection, out_of_reach: Collection[Correction]) -> None:
    """Make corrections pending that no computation can apply as long as closes are gone."""
    if out_of_reach:
        chosen = corrections.c.id.in_([one.id for one in out_of_reach])
        connection.execute(update(corrections).where(chosen).values(pending=True))


def measured(connection: Connection, pending: Sequence[Correction], effect: float) -> None:
    """Store what pending corrections would change."""
    chosen = corrections.c.id.in_([one.id for one in pending])
    connection.execute(update(corrections).where(chosen).values(effect=effect))
