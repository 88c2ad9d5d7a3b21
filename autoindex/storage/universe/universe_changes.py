"""The changes of the universe in the audit: who, when, what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, Integer, Text, cast, select, text

from autoindex.storage import audit as entries
from autoindex.storage.audit import Author
from autoindex.storage.tables import assets, audit

REFRESH: Final = "refresh"
"""Who restates share counts."""

_CHANGE: Final = "change asset"
_RENAME: Final = "rename asset"
_SINCE_RENAMED: Final = text("""
    select distinct on (subject) cast(subject as integer), symbol
    from (
        select id, subject, before ->> 'symbol' as symbol,
            coalesce(cast(after ->> 'since' as date), cast(at as date)) as since
        from audit where action = 'rename asset'
    ) as renames
    where since > :day
    order by subject, since, id
""")

ASSET_ID: Final[ColumnElement[int]] = cast(audit.c.subject, Integer)
FORMER_SYMBOL: Final[ColumnElement[str]] = audit.c.before["symbol"].astext
IS_RENAME: Final = audit.c.action == _RENAME


@dataclass(frozen=True, slots=True)
class AssetChange:
    """A sentence on an asset as it is now, and one on how it was; None where it was not."""

    asset_id: int
    after: str
    before: str | None = None


@dataclass(frozen=True, slots=True)
class UniverseChange:
    """One change, as it is recorded; `asset_id` is None for an asset that was removed."""

    changed_at: datetime
    changed_by: str
    asset_id: int | None
    change: str


def record(connection: Connection, by: str, changes: Sequence[AssetChange]) -> None:
    """Record changes as made by a user."""
    acts = [(str(one.asset_id), _state(one.before), _state(one.after)) for one in changes]
    entries.record_all(connection, Author(by), _CHANGE, acts)


def load(connection: Connection) -> list[UniverseChange]:
    """Every change, in the order in which they were made."""
    table = audit.c
    columns = table.at, table.user_name, ASSET_ID, table.after["state"].astext
    query = select(*columns).where(table.action.in_((_CHANGE, _RENAME)))
    return [UniverseChange(*row) for row in connection.execute(query.order_by(table.id))]


def record_rename(
    connection: Connection, by: str, asset_id: int, old: str, new: str, since: date | None
) -> None:
    """Record that an asset has another symbol, and since when."""
    change = f"{old} renamed to {new}" + (f" from {since} on" if since else "")
    before, after = {"symbol": old}, {"symbol": new, "since": since and f"{since}", "state": change}
    entries.record(connection, Author(by), _RENAME, str(asset_id), before=before, after=after)


def former_symbols(connection: Connection) -> dict[str, int]:
    """The symbols that assets had before; the newest asset of each, if there still is one."""
    # As text: subjects of other entries are no numbers.
    ids = select(cast(assets.c.id, Text))
    query = select(FORMER_SYMBOL, ASSET_ID).where(IS_RENAME, audit.c.subject.in_(ids))
    return dict(connection.execute(query.order_by(audit.c.id)).tuples().all())


def _state(sentence: str | None) -> entries.Values | None:
    return None if sentence is None else {"state": sentence}


def symbols_before_renames(connection: Connection, day: date) -> dict[int, str]:
    """The symbols of a day by asset, of those that have been renamed since.

    A rename without a day is of the day on which it was recorded.
    """
    return dict(connection.execute(_SINCE_RENAMED, {"day": day}).tuples().all())
