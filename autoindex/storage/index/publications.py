"""Publications: what each computation publishes.

A published level changes only by a publication with a cause. What it replaces is kept: see
`level_versions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, text

from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.index import levels as stored_levels
from autoindex.storage.index.levels import SAME
from autoindex.storage.postgres import binary_copy
from autoindex.storage.tables import publications
from autoindex.storage.universe import assets, universe_changes
from autoindex.storage.webhooks import outbox
from autoindex.webhooks.events import Event, EventType

NOTHING_MISSING: Final[Mapping[date, Sequence[str]]] = {}

_SUPERSEDE: Final = text("""
    insert into superseded_levels
        (strategy, frequency, session, version, level, publication, replaced_by, missing)
    select strategy, frequency, session, version, level, publication, :id, missing
    from index_levels
    where strategy = :strategy and frequency = :frequency and session = any(:sessions)
""")
_REPLACE: Final = text("""
    update index_levels l
    set level = new.level, version = l.version + 1, publication = :id, missing = null
    from unnest(cast(:sessions as date[]), cast(:levels as float8[])) as new (session, level)
    where l.strategy = :strategy and l.frequency = :frequency and l.session = new.session
""")
_MARK: Final = text("""
    update index_levels set missing = :missing
    where strategy = :strategy and frequency = :frequency and session = :session
""")


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one level."""

    session: date
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class Published:
    """What a computation has published: sessions that are new, and versions of others.

    `largest` is the largest relative change of a level, None where no number has changed.
    """

    added: int = 0
    changed: int = 0
    largest: Change | None = None


def publish(
    connection: Connection,
    strategy: Strategy,
    frequency: Frequency,
    levels: pd.Series,
    missing: Mapping[date, Sequence[str]] = NOTHING_MISSING,
    *,
    cause: str,
    task_id: UUID | None,
) -> Published:
    """Add the levels that are new, and make a version of those that differ from the stored ones.

    Sessions in `missing` are provisional. Stored sessions that `levels` lacks stay. Raises the data
    version where anything changes.
    """
    days = levels.index.to_numpy().astype("datetime64[D]")
    computed = levels.to_numpy(np.float64)
    if not len(days):
        return Published()
    first, last = days[0].item(), days[-1].item()
    stored = stored_levels.load(connection, strategy, frequency, first, last)
    known = np.isin(days, stored.index.to_numpy().astype("datetime64[D]"))
    before = stored.reindex(levels.index).to_numpy(np.float64)
    changed = known & (np.abs(computed - before) > SAME * before)
    which = {"strategy": strategy, "frequency": frequency}
    marks = stored_levels.provisional(connection, strategy, frequency, first)
    if marks.keys() & missing.keys():
        marks = _renamed(connection, which, marks, missing)
    changed |= known & [marks.get(day) != _named(missing, day) for day in days.tolist()]
    touched = days[changed | ~known]
    if not len(touched):
        return Published()
    row = which | {"first": touched[0].item(), "last": touched[-1].item()}
    made = insert(publications).values(**row, cause=cause, task_id=task_id)
    made = made.returning(publications.c.id, publications.c.published_at)
    number, published_at = connection.execute(made).one()
    if changed.any():
        replaced = which | {"id": number, "sessions": days[changed].tolist()}
        connection.execute(_SUPERSEDE, replaced)
        connection.execute(_REPLACE, replaced | {"levels": computed[changed].tolist()})
    _add(connection, which, number, days[~known], computed[~known])
    _mark(connection, which, {day: missing[day] for day in touched.tolist() if day in missing})
    versions.bump(connection, versions.INDEX)
    said = which | {"cause": cause, "task_id": None if task_id is None else str(task_id)}
    _tell(connection, "levels.published", days[~known], said, published_at)
    _tell(connection, "levels.changed", days[changed], said, published_at)
    largest = _largest(days[known], before[known], computed[known])
    return Published(int((~known).sum()), int(changed.sum()), largest)


def _tell(
    connection: Connection,
    event: EventType,
    days: NDArray[np.datetime64],
    said: Mapping[str, Any],
    at: datetime,
) -> None:
    if not len(days):
        return
    span = {"first": str(days[0]), "last": str(days[-1]), "levels": len(days)}
    outbox.tell(connection, Event(f"msg_{uuid4().hex}", event, at, {**said, **span}))


def _renamed(
    connection: Connection,
    which: dict[str, Any],
    marks: dict[date, list[str]],
    missing: Mapping[date, Sequence[str]],
) -> dict[date, list[str]]:
    """The marks, with the new symbols of stocks that were renamed: that makes no version."""
    ids = universe_changes.former_symbols(connection)
    ids |= {asset.symbol: asset.id for asset in assets.list_assets(connection)}

    def stocks(symbols: Sequence[str]) -> set[int | None]:
        return {ids.get(symbol) for symbol in symbols}

    same = {
        day: list(missing[day])
        for day in marks.keys() & missing.keys()
        if marks[day] != list(missing[day]) and stocks(marks[day]) == stocks(missing[day])
    }
    _mark(connection, which, same)
    return marks | same


def _mark(
    connection: Connection, which: dict[str, Any], missing: Mapping[date, Sequence[str]]
) -> None:
    rows = [which | {"session": day, "missing": list(names)} for day, names in missing.items()]
    if rows:
        connection.execute(_MARK, rows)


def _largest(
    days: NDArray[np.datetime64], old: NDArray[np.float64], new: NDArray[np.float64]
) -> Change | None:
    sizes = np.abs(new - old) / np.maximum(np.abs(old), np.finfo(np.float64).tiny)
    if not len(sizes) or sizes.max() <= SAME:
        return None
    at = int(sizes.argmax())
    return Change(days[at].item(), float(old[at]), float(new[at]))


def _named(missing: Mapping[date, Sequence[str]], day: date) -> list[str] | None:
    return list(missing[day]) if day in missing else None


def _add(
    connection: Connection, which: dict[str, Any], number: int, days: Any, levels: Any
) -> None:
    if not len(days):
        return
    columns = {name: binary_copy.repeated(value, len(days)) for name, value in which.items()}
    columns |= {"session": days, "level": levels}
    columns["publication"] = np.full(len(days), number, np.int32)
    binary_copy.load(connection, "index_levels", columns)
