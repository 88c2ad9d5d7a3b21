"""Memberships: which assets are members of the universe when, and in which role."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Select,
    any_,
    func,
    insert,
    literal,
    select,
    text,
)

from autoindex.errors import ConfigurationError, UnknownSymbols
from autoindex.requests import PUBLISHED_FREQUENCY, PUBLISHED_STRATEGY
from autoindex.storage.tables import allocations, assets, index_levels, memberships
from autoindex.storage.universe.assets import COLUMNS, Asset
from autoindex.storage.universe.universe_row import Role

_REMOVE = text("delete from memberships where asset_id = any(:ids)")


@dataclass(frozen=True, slots=True)
class Span:
    """A membership in one role, from `first` to `last`, both included.

    From the beginning is `date.min`, without an end is `date.max`.
    """

    role: Role
    first: date
    last: date

    def __str__(self) -> str:
        since = "the beginning" if self.first == date.min else f"{self.first}"
        until = "on" if self.last == date.max else f"to {self.last}"
        return f"{self.role} from {since} {until}"


Timeline = tuple[Span, ...]
"""An asset's memberships, in order of time."""


@dataclass(frozen=True, slots=True)
class Member(Asset):
    """An asset in one role, from `first` to `last`, both included: see `Span`."""

    role: Role
    first: date
    last: date


def during(
    connection: Connection, first: date, last: date, role: Role | None = None
) -> list[Member]:
    """The memberships that reach into a window, by symbol and in order of time."""
    table = memberships.c
    query = _members().where(table.first <= last, table.last >= first)
    if role is not None:
        query = query.where(table.role == role)
    return [Member(*row) for row in connection.execute(query).all()]


def on(connection: Connection, day: date, role: Role | None = None) -> list[Member]:
    """The members of a day, by symbol."""
    return during(connection, day, day, role)


def current(connection: Connection, day: date) -> list[Member]:
    """The members of a day or of a later one, by symbol; each asset once."""
    found = during(connection, day, date.max)
    return list({member.id: member for member in reversed(found)}.values())[::-1]


def benchmark(connection: Connection, day: date) -> Member | None:
    """The benchmark of a day, None without one.

    Raises `ConfigurationError` if there are more.
    """
    found = on(connection, day, "benchmark")
    if len(found) > 1:
        symbols = ", ".join(member.symbol for member in found)
        raise ConfigurationError(
            f"the universe has {len(found)} active benchmarks, {symbols}: deactivate all but one, "
            "with `autoindex universe deactivate`"
        )
    return found[0] if found else None


def resolve(connection: Connection, day: date, symbols: Iterable[str] | None = None) -> list[Asset]:
    """The assets whose prices are wanted on a day, or those that `symbols` name of them.

    They are the members of that day or of a later one, what the published index still holds, and
    what its provisional sessions are missing. Raises `UnknownSymbols`.
    """
    needed = (*_held(connection), *_missing(connection), *current(connection, day))
    wanted = {asset.id: asset for asset in needed}
    known = sorted(wanted.values(), key=lambda asset: asset.symbol)
    if symbols is None:
        return known
    named = set(symbols)
    if unknown := named - {asset.symbol for asset in known}:
        raise UnknownSymbols(sorted(unknown))
    return [asset for asset in known if asset.symbol in named]


def begun(connection: Connection, ids: Collection[int]) -> dict[int, date]:
    """Since when each of some assets has been a member for the first time; none that never was."""
    table = memberships.c
    query = select(table.asset_id, func.min(table.first)).where(
        table.asset_id == any_(literal(list(ids), ARRAY(Integer)))
    )
    return dict(connection.execute(query.group_by(table.asset_id)).tuples().all())


def timelines(connection: Connection) -> Mapping[int, Timeline]:
    """The memberships of each asset that has any, or the empty timeline."""
    table = memberships.c
    query = select(table.asset_id, table.role, table.first, table.last)
    found: dict[int, Timeline] = defaultdict(tuple)
    for asset_id, *span in connection.execute(query.order_by(table.asset_id, table.first)):
        found[asset_id] += (Span(*span),)
    return found


def replace(connection: Connection, changed: Mapping[int, Timeline]) -> None:
    """Store the memberships of some assets instead of those that they had."""
    connection.execute(_REMOVE, {"ids": list(changed)})
    rows = [
        {"asset_id": asset_id, "role": span.role, "first": span.first, "last": span.last}
        for asset_id, spans in changed.items()
        for span in spans
    ]
    if rows:
        connection.execute(insert(memberships), rows)


def _members() -> Select[Any]:
    table = memberships.c
    return (
        select(*COLUMNS, table.role, table.first, table.last)
        .join_from(memberships, assets, assets.c.id == table.asset_id)
        .order_by(assets.c.symbol, table.first)
    )


def _held(connection: Connection) -> Sequence[Asset]:
    """What the published index holds since its last rebalance."""
    table = allocations.c
    published = (table.strategy == PUBLISHED_STRATEGY, table.frequency == PUBLISHED_FREQUENCY)
    newest = select(func.max(table.session)).where(*published).scalar_subquery()
    held = select(table.asset_id).where(*published, table.session == newest)
    query = select(*COLUMNS).where(assets.c.id.in_(held))
    return [Asset(*row) for row in connection.execute(query)]


def _missing(connection: Connection) -> Sequence[Asset]:
    """What provisional sessions of the published index wait for, held or sold since."""
    levels = index_levels.c
    missing = select(func.unnest(levels.missing)).where(
        levels.strategy == PUBLISHED_STRATEGY,
        levels.frequency == PUBLISHED_FREQUENCY,
        levels.missing.is_not(None),
    )
    query = select(*COLUMNS).where(assets.c.symbol.in_(missing))
    return [Asset(*row) for row in connection.execute(query)]
