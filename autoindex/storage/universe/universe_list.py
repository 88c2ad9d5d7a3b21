"""The universe as rows of its file: importing them again changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from sqlalchemy import Connection

from autoindex.storage.universe import assets, memberships, share_counts, universe_changes
from autoindex.storage.universe.assets import Asset
from autoindex.storage.universe.memberships import Span, Timeline
from autoindex.storage.universe.share_counts import StoredCount
from autoindex.storage.universe.universe_row import UniverseRow


def everyone(connection: Connection, today: date) -> list[UniverseRow]:
    """Every asset, member or not, by symbol: as today, or as it is next, or was last."""
    spans, counts = _dated(connection)
    return [
        _row(asset, _nearest(spans[asset.id], today), counts[asset.id], today)
        for asset in assets.list_assets(connection)
    ]


def as_of(connection: Connection, day: date) -> list[UniverseRow]:
    """The members of a day, by the symbols of that day, with the shares that counted then."""
    _, counts = _dated(connection)
    former = universe_changes.symbols_before_renames(connection, day)
    members = [
        replace(one, symbol=former.get(one.id, one.symbol))
        for one in memberships.on(connection, day)
    ]
    return [
        _row(one, Span(one.role, one.first, one.last), _counting(counts[one.id], day), day)
        for one in sorted(members, key=lambda one: one.symbol)
    ]


def _dated(
    connection: Connection,
) -> tuple[Mapping[int, Timeline], Mapping[int, list[StoredCount]]]:
    counts = share_counts.load(connection)
    return memberships.timelines(connection), share_counts.by_asset(counts)


def _nearest(spans: Timeline, day: date) -> Span | None:
    return next((one for one in spans if one.last >= day), spans[-1] if spans else None)


def _counting(counts: list[StoredCount], day: date) -> list[StoredCount]:
    return [one for one in counts if one.first <= day] or counts[:1]


def _row(asset: Asset, span: Span | None, counts: Sequence[StoredCount], day: date) -> UniverseRow:
    count = counts[-1] if counts else None
    shares = None if count is None or count.shares is None else round(count.shares)
    # Stored values are valid; the wall clock may be behind a date of shares.
    return UniverseRow.model_construct(
        symbol=asset.symbol,
        exchange=asset.exchange,
        currency=asset.currency,
        name=asset.name,
        sector=asset.sector,
        shares_outstanding=shares,
        shares_outstanding_date=count.as_of if count and shares else None,
        role=span.role if span else "constituent",
        active=span is not None and span.last >= day,
        member_from=None if span is None or span.first == date.min else span.first,
        member_to=None if span is None or span.last == date.max else span.last,
    )
