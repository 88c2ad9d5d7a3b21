"""Activates and deactivates assets that are in the universe already."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

from sqlalchemy import Connection

from autoindex.errors import InvalidRequest
from autoindex.storage import versions
from autoindex.storage.postgres import locks
from autoindex.storage.universe import assets, memberships, timeline, universe_changes
from autoindex.storage.universe.memberships import Timeline
from autoindex.storage.universe.published_past import PublishedPast
from autoindex.storage.universe.universe_changes import AssetChange


def activate(connection: Connection, symbols: Sequence[str], by: str) -> int:
    """Make assets members from the session after the published past on; how many were none.

    Raises `UnknownSymbols`, and `InvalidRequest` for a second benchmark.
    """
    count = _change(connection, symbols, by, timeline.reopened)
    benchmarks = memberships.during(connection, date.max, date.max, "benchmark")
    if len(benchmarks) > 1 and {one.symbol for one in benchmarks} & set(symbols):
        other = next(one.symbol for one in benchmarks if one.symbol not in symbols)
        raise InvalidRequest("symbols", f"{other} is the benchmark: there can be one")
    return count


def deactivate(
    connection: Connection, symbols: Sequence[str], by: str, since: date | None = None
) -> int:
    """End the memberships of assets with the published past, or before the day `since`; how many.

    Before anything is published, an asset then never was a member. Raises `UnknownSymbols`, and
    `InvalidRequest` where `since` is published.
    """

    def ended(spans: Timeline, past: PublishedPast) -> Timeline:
        if since is not None and past.holds(since):
            raise InvalidRequest(
                "--from", f"{since} is published, as are all days up to {past.last}"
            )
        return timeline.up_to(spans, past.last if since is None else since - timedelta(days=1))

    return _change(connection, symbols, by, ended)


def _change(
    connection: Connection,
    symbols: Sequence[str],
    by: str,
    of: Callable[[Timeline, PublishedPast], Timeline],
) -> int:
    locks.until_commit(connection, locks.PRICES)
    past, stored = PublishedPast.read(connection), memberships.timelines(connection)
    named = assets.named(connection, symbols)
    new = {asset.id: of(stored[asset.id], past) for asset in named}
    changed = {id_: spans for id_, spans in new.items() if spans != stored[id_]}
    if changed:
        memberships.replace(connection, changed)
        changes = [
            AssetChange(
                one.id,
                timeline.sentence(one.symbol, changed[one.id]),
                timeline.sentence(one.symbol, stored[one.id]),
            )
            for one in named
            if one.id in changed
        ]
        universe_changes.record(connection, by, changes)
        versions.bump(connection, versions.UNIVERSE)
    return len(changed)
