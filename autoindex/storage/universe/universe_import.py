"""Imports the rows of a universe: into assets, memberships and share counts."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Connection, func, select

from autoindex.errors import InvalidRequest
from autoindex.storage import versions
from autoindex.storage.index import corrections
from autoindex.storage.postgres import locks
from autoindex.storage.universe import (
    assets,
    memberships,
    share_counts,
    timeline,
    universe_changes,
)
from autoindex.storage.universe.assets import Asset
from autoindex.storage.universe.memberships import Member, Timeline
from autoindex.storage.universe.published_past import PublishedPast
from autoindex.storage.universe.share_counts import StoredCount
from autoindex.storage.universe.universe_changes import AssetChange
from autoindex.storage.universe.universe_row import UniverseRow

NOBODY: Final = "autoindex"
BACKDATED: Final = "universe backdated"

Changes = list[AssetChange]


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows an import inserted, updated and left unchanged."""

    inserted: int
    updated: int
    unchanged: int


class UniverseImport:
    """One import, in the caller's transaction; holds the lock on prices until it ends.

    `today` is the day of the data's clock: imported share counts are in the share basis of that
    day. `by` is who imports. With `backdate`, days in the published past are corrections of it:
    see `corrections`.
    """

    def __init__(
        self, connection: Connection, today: date, by: str, *, backdate: bool = False
    ) -> None:
        locks.until_commit(connection, locks.PRICES)
        self._connection, self._today, self._by = connection, today, by
        self._backdate = backdate
        self._backdated: dict[int, date] = {}
        self._past = PublishedPast.read(connection)
        self._known = {asset.symbol: asset for asset in assets.list_assets(connection)}
        self._members = memberships.timelines(connection)
        self._counts = share_counts.by_asset(share_counts.load(connection))

    def members(self) -> list[Member]:
        """The members that go on, or begin, after today and the published past."""
        return memberships.current(self._connection, max(self._today, self._past.following))

    def refusal(self, row: UniverseRow) -> str | None:
        """Why a row's dates can't be, with the column; None where they can."""
        asset = self._known.get(row.symbol)
        stored: Timeline = self._members[asset.id] if asset else ()
        new = timeline.wanted(stored, row, self._past)
        if any(span.first > span.last for span in new):
            return f", column member_to: lies before the membership begins, on {new[-1].first}"
        last = self._past.last
        if self._backdate or timeline.up_to(new, last) == timeline.up_to(stored, last):
            return None
        begins = row.member_from is not None and self._past.holds(row.member_from)
        column = "member_from" if begins else "member_to"
        was = ", ".join(map(str, stored)) or "no member"
        return (
            f", column {column}: would change what is published up to {last}: it was {was}; "
            "--backdate corrects it"
        )

    def store(
        self, rows: Sequence[UniverseRow], window: int = corrections.WINDOW_SESSIONS
    ) -> Imported:
        """Insert and update what the rows say otherwise, and record it; nothing is removed.

        For `window` see `corrections`.
        """
        new = {row.symbol for row in rows if row.symbol not in self._known}
        changes = self._store_assets(rows)
        self._known = {asset.symbol: asset for asset in assets.list_assets(self._connection)}
        inserted = {self._known[symbol].id for symbol in new}
        changes += self._store_members(rows, inserted) + self._store_counts(rows)
        if changes:
            universe_changes.record(self._connection, self._by, changes)
            versions.bump(self._connection, versions.UNIVERSE)
            # Pages of weights show sectors.
            versions.bump(self._connection, versions.INDEX)
            corrections.note_universe(self._connection, self._backdated, BACKDATED, window)
        updated = {change.asset_id for change in changes} - inserted
        return Imported(len(new), len(updated), len(rows) - len(new) - len(updated))

    def _store_assets(self, rows: Sequence[UniverseRow]) -> Changes:
        new = [row for row in rows if row.symbol not in self._known]
        stored = [(row, self._known[row.symbol]) for row in rows if row.symbol in self._known]
        changed = [
            (row, asset, names)
            for row, asset in stored
            if (names := assets.differences(row, asset))
        ]
        described = [*new, *(row for row, _, _ in changed)]
        assets.store(self._connection, described, [asset.id for _, asset, _ in changed])
        return [
            AssetChange(asset.id, *(_described(one, name) for one in (row, asset)))
            for row, asset, names in changed
            for name in names
        ]

    def _store_members(self, rows: Sequence[UniverseRow], inserted: Collection[int]) -> Changes:
        changed, changes = {}, []
        for row in rows:
            asset_id = self._known[row.symbol].id
            old = self._members[asset_id]
            new = timeline.wanted(old, row, self._past)
            if new != old:
                changed[asset_id] = new
                self._correct(asset_id, timeline.first_difference(old, new))
            if asset_id in changed or asset_id in inserted:
                was = None if asset_id in inserted else timeline.sentence(row.symbol, old)
                changes.append(AssetChange(asset_id, timeline.sentence(row.symbol, new), was))
        memberships.replace(self._connection, changed)
        self._members = defaultdict(tuple, {**self._members, **changed})
        return changes

    def _store_counts(self, rows: Sequence[UniverseRow]) -> Changes:
        made, changes = list[StoredCount](), []
        for row in rows:
            asset_id = self._known[row.symbol].id
            stored = self._counts[asset_id]
            stands = PublishedPast() if self._backdate else self._past
            new = share_counts.wanted(asset_id, row, stored, stands, self._today)
            if new is None:
                continue
            pinned = share_counts.pinned(asset_id, stored, stands, self._today)
            if published := timeline.up_to(self._members[asset_id], self._past.last):
                made += [pinned] if pinned else []
                is_first = not any(one.first < new.first for one in stored)
                begins = published[0].first
                self._correct(asset_id, begins if is_first else max(begins, new.first))
            made.append(new)
            was = share_counts.sentence(row.symbol, stored[-1]) if stored else None
            changes.append(AssetChange(asset_id, share_counts.sentence(row.symbol, new), was))
        share_counts.store(self._connection, made)
        return changes

    def _correct(self, asset_id: int, day: date | None) -> None:
        """Remember from which published session on an asset is another one."""
        if self._backdate and day is not None and self._past.holds(day):
            first = min(day, self._backdated.get(asset_id, date.max))
            self._backdated[asset_id] = max(first, self._past.first)


def _described(one: UniverseRow | Asset, name: str) -> str:
    return f"{one.symbol}: {name} is {getattr(one, name) or 'empty'}"


def import_universe(
    connection: Connection,
    rows: Sequence[UniverseRow],
    *,
    today: date | None = None,
    by: str = NOBODY,
) -> Imported:
    """Import rows, one a symbol, today by the database's clock if no other day is given.

    Raises `InvalidRequest` where a row would change the published past.
    """
    day = today or connection.execute(select(func.current_date())).scalar_one()
    importing = UniverseImport(connection, day, by)
    for row in rows:
        if (reason := importing.refusal(row)) is not None:
            raise InvalidRequest(row.symbol, reason.removeprefix(", "))
    return importing.store(rows)
