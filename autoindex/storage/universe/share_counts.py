"""Share counts: how many shares an asset has, and from which session on they count."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select, text
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.tables import share_counts
from autoindex.storage.universe import universe_changes
from autoindex.storage.universe.published_past import PublishedPast
from autoindex.storage.universe.universe_changes import AssetChange
from autoindex.storage.universe.universe_row import UniverseRow

# Counts that differ by less are rounded by a restatement.
_ROUNDING: Final = 1e-9
_RESTATE: Final = text("""
    update share_counts s set shares = s.shares * f.factor, basis = :newest
    from unnest(cast(:firsts as date[]), cast(:factors as float8[])) as f (first, factor)
    where s.asset_id = :asset_id and s.first = f.first and f.factor <> 1
""")


@dataclass(frozen=True, slots=True)
class StoredCount:
    """The shares of day `as_of`, which count from the session `first` on; see the table."""

    asset_id: int
    first: date
    shares: float | None
    as_of: date
    basis: date
    imported: float | None


def load(connection: Connection, asset_id: int | None = None) -> list[StoredCount]:
    """Every share count, or those of one asset, by asset and in order of time."""
    table = share_counts.c
    query = select(*(table[name] for name in StoredCount.__dataclass_fields__))
    if asset_id is not None:
        query = query.where(table.asset_id == asset_id)
    found = connection.execute(query.order_by(table.asset_id, table.first))
    return [StoredCount(*row) for row in found.all()]


def by_asset(counts: Iterable[StoredCount]) -> Mapping[int, list[StoredCount]]:
    """The counts of each asset, or an empty list."""
    result: dict[int, list[StoredCount]] = defaultdict(list)
    for one in counts:
        result[one.asset_id].append(one)
    return result


def first_days(counts: Iterable[StoredCount]) -> dict[int, date]:
    """The as-of day of each asset's first known count, which also counts before it."""
    return {
        asset_id: next(one.as_of for one in known if one.shares is not None)
        for asset_id, known in by_asset(counts).items()
        if any(one.shares is not None for one in known)
    }


def wanted(
    asset_id: int,
    row: UniverseRow,
    stored: Sequence[StoredCount],
    past: PublishedPast,
    today: date,
) -> StoredCount | None:
    """The count that a row adds; None where it says what is stored, or something older.

    It counts from its day on, but from no published session. A count that was imported before is
    not a new one, even if a split has restated it since.
    """
    if row.shares_outstanding is None:
        return None
    count, as_of = float(row.shares_outstanding), row.shares_outstanding_date or today
    known = [one for one in stored if row.shares_outstanding_date in (None, one.as_of)]
    if known and _is(known[-1], count):
        return None
    if not past.holds(as_of):
        return StoredCount(asset_id, as_of, count, as_of, today, count)
    if any(one.as_of > as_of for one in stored if one.first <= past.following):
        return None
    return StoredCount(asset_id, past.following, count, as_of, today, count)


def _is(stored: StoredCount, count: float) -> bool:
    known = [one for one in (stored.imported, stored.shares) if one is not None]
    return any(abs(one - count) <= max(_ROUNDING * count, 0.5) for one in known)


def sentence(symbol: str, new: StoredCount) -> str:
    """The sentence on a new count, for the record of changes."""
    return f"{symbol}: {new.shares:,.0f} shares of {new.as_of} count from {new.first} on"


def pinned(
    asset_id: int, stored: Sequence[StoredCount], past: PublishedPast, today: date
) -> StoredCount | None:
    """What counts for the published past of a member, if a new count would be its first.

    That is the first one that was known, or none.
    """
    if not past.holds(past.last) or any(past.holds(one.first) for one in stored):
        return None
    known = stored[0] if stored else StoredCount(asset_id, date.min, None, date.min, today, None)
    return replace(known, first=date.min)


def store(connection: Connection, counts: Sequence[StoredCount]) -> None:
    """Store counts, each instead of one that counts from the same session."""
    if not counts:
        return
    statement = insert(share_counts)
    update_to: Any = {name: statement.excluded[name] for name in ("shares", "as_of", "basis")}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[share_counts.c.asset_id, share_counts.c.first],
            set_=update_to | {"imported": statement.excluded.imported},
        ),
        [asdict(one) for one in counts],
    )


def restate(
    connection: Connection,
    asset_id: int,
    days: NDArray[np.datetime64],
    factors: NDArray[np.float64],
    first_new: date | None = None,
) -> None:
    """Multiply the counts of one asset by the factor of the day in whose share basis each is.

    That is the day of the import, and for a count that is multiplied the newest of `days` from
    then on: closes of before a split may come back from an archive, and are restated once more.

    The factors are old close by new close of the days that both histories have, 1 where the close
    stays, so that shares × close stays the same; `days` are increasing. A day between two of them
    has the factor of the earlier one, one before all of them the first. From `first_new` on, the
    first day that only the new history has, an import is in the new share basis.
    """
    counts = [
        one for one in load(connection, asset_id) if first_new is None or one.basis < first_new
    ]
    if not counts:
        return
    bases = np.array([one.basis for one in counts], "datetime64[D]")
    restated = _factors(bases, days, factors)
    rows = {"firsts": [one.first for one in counts], "factors": restated.tolist()}
    connection.execute(_RESTATE, rows | {"asset_id": asset_id, "newest": days[-1].item()})
    changes = sorted({f"{factor:.4g}" for factor in restated.tolist() if factor != 1})
    universe_changes.record(
        connection,
        universe_changes.REFRESH,
        [AssetChange(asset_id, f"share counts multiplied by {one}, as prices") for one in changes],
    )


def _factors(
    bases: NDArray[np.datetime64], days: NDArray[np.datetime64], factors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The factor of each basis day, 1 where its close stays.

    A median of three days, because a correction of that day alone is no split.
    """
    at = np.maximum(np.searchsorted(days, bases, side="right") - 1, 0)
    begin = np.clip(at - 1, 0, max(len(days) - 3, 0))
    window = np.minimum(begin[:, None] + np.arange(3), len(days) - 1)
    around: NDArray[np.float64] = np.median(factors[window], axis=1)
    around[factors[at] == 1] = 1
    return around
