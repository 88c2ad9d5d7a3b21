"""What a computation reads, as of one instant."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd
from sqlalchemy import Connection

from autoindex import sessions
from autoindex.errors import EmptyWindow, IndexImpossible
from autoindex.index.completeness import Completeness, Needs
from autoindex.index.compute import Base, lookback_sessions
from autoindex.index.membership import Membership
from autoindex.index.shares import ShareCount
from autoindex.labels import listed
from autoindex.requests import ComputeIndexRequest
from autoindex.storage.index import (
    close_blocks,
    corrections,
    holdings,
    index_metrics,
    levels,
    readiness,
)
from autoindex.storage.index.close_blocks import CloseBlocks
from autoindex.storage.index.corrections import Correction
from autoindex.storage.index.holdings import Holdings
from autoindex.storage.index.readiness import Readiness
from autoindex.storage.prices import stored_window
from autoindex.storage.universe import assets, memberships, share_counts
from autoindex.storage.universe.assets import Asset
from autoindex.storage.universe.memberships import Member
from autoindex.storage.universe.published_past import session_after
from autoindex.storage.universe.share_counts import StoredCount

# Loaded beyond the lookback, because a gap in a stock's bars is filled over up to five sessions.
GAP_SESSIONS = 10


@dataclass(frozen=True, slots=True)
class ComputationInput:
    """The input of one computation.

    `history` are the stored levels to the base, `published` those from it on. `holdings` are None
    where the index starts anew; `begins` is its first published session, if there is one. `members`
    and `constituents` include those that join by the next rebalance. `closes` end with the last
    session that may be published; `suspicious` names the symbols whose newest close does not count
    yet, and its session. `provisional` are stored sessions, `corrections` those that are due or
    pending, and `renewed` the sessions whose stored metrics follow from what is computed.
    """

    constituents: list[Asset]
    members: list[Member]
    counts: list[StoredCount]
    closes: CloseBlocks
    benchmark: pd.Series | None
    history: pd.Series
    published: pd.Series
    holdings: Holdings | None
    begins: date | None
    completeness: Completeness
    suspicious: dict[str, date]
    provisional: list[date]
    corrections: list[Correction]
    renewed: list[date]

    @property
    def base(self) -> Base | None:
        """The stored level to continue from."""
        held = self.holdings
        if held is None:
            return None
        is_corrected = corrections.is_only_closes(
            self.corrections, held.units.index, held.decided, held.session
        )
        return Base(pd.Timestamp(held.session), held.level, held.units, is_corrected)

    @property
    def ids(self) -> dict[str, int]:
        """The assets' numbers by symbol."""
        return {asset.symbol: asset.id for asset in self.constituents}

    @property
    def memberships(self) -> list[Membership]:
        """When each symbol may be weighted."""
        return _memberships(self.members)

    @property
    def shares(self) -> list[ShareCount]:
        """The share counts of the constituents."""
        return _shares(self.constituents, self.counts)

    def applied(self, start: date | None) -> list[Correction]:
        """The corrections that the new levels contain, if they are asked for from `start` on."""
        return [one for one in corrections.applied(self.corrections, start) if self._reaches(one)]

    def out_of_reach(self, start: date | None) -> list[Correction]:
        """Those that they should contain, but the closes of the session before are gone."""
        return [
            one for one in corrections.applied(self.corrections, start) if not self._reaches(one)
        ]

    def _reaches(self, one: Correction) -> bool:
        return self.holdings is None or one.session > self.holdings.session

    def cause(self, request: ComputeIndexRequest) -> str:
        """Why levels change, as in "closes changed: KO from 2021-01-12"."""
        if request.start_date is not None:
            return f"computed again from {request.start_date} on request"
        completed = [str(day) for day in self.provisional if day not in self.completeness.missing]
        if completed:
            return f"completed: {listed(completed)}"
        applied = self.applied(None)
        if not applied:
            return "new sessions"
        first = {one.symbol or "?": one.session for one in reversed(applied)}
        changes = [f"{symbol} from {session}" for symbol, session in sorted(first.items())]
        return f"{', '.join(sorted({one.reason for one in applied}))}: {listed(changes)}"


def read(
    connection: Connection, request: ComputeIndexRequest, deadline: datetime
) -> ComputationInput:
    """Read the closes that the first new session needs, and the stored level to continue from.

    `connection` sees the database as of one instant. Sessions that closed before `deadline` do not
    wait for missing prices. Raises `EmptyWindow` or `IndexImpossible` if nothing can be computed.
    """
    which = request.strategy, request.frequency
    found = corrections.load(connection, *which)
    stored = stored_window.read(connection)
    if stored is None:
        raise EmptyWindow("start_date", None, None)
    universe = assets.list_assets(connection)
    known = levels.load(connection, *which)
    published = (known.index[0].date(), known.index[-1].date()) if len(known) else None
    provisional = levels.provisional(connection, *which)
    due = [*(one.session for one in found if not one.pending), *provisional]
    base = _base(connection, request, min(due, default=None), universe, stored, published)
    start, end = _window(request, base, stored, published)
    # Whoever was a member until the base is considered by no later decision.
    since = base.session + timedelta(days=1) if base else start
    until = sessions.next_rebalance(end, request.frequency) or end
    members = memberships.during(connection, since, until, "constituent")
    held = set(base.units.index) if base else set[str]()
    weighted = {member.id for member in members}
    chosen = [a for a in universe if a.id in weighted or a.symbol in held]
    # A new one is compared with at once.
    reference = memberships.benchmark(connection, session_after(end))
    needs = Needs(held, _memberships(members), [reference.symbol] if reference else ())
    needed = needs.symbols
    watched = [a for a in universe if a.symbol in needed]
    newest = published[1] if published else None
    suspicious = readiness.suspicious(connection, watched, newest, provisional)
    closes = CloseBlocks.read(connection, chosen, start, end, suspicious)
    market = close_blocks.load(
        connection, [reference] if reference else [], stored[0], end, suspicious
    )
    counts = share_counts.load(connection)
    ready = Readiness(
        watched=watched,
        closes=[closes.newest, market.drop(columns=[*closes.newest], errors="ignore")],
        suspicious=suspicious,
        needs=needs,
        strategy=request.strategy,
        frequency=request.frequency,
        shares=_shares(chosen, counts),
        published=newest,
        provisional=provisional,
        base=base.session if base else None,
        deadline=deadline,
    ).read(connection)
    return ComputationInput(
        constituents=chosen,
        members=members,
        counts=counts,
        closes=closes.without_last(ready.held_back),
        benchmark=_benchmark(market, reference),
        history=known[: pd.Timestamp(base.session)] if base else known[:0],
        published=known[pd.Timestamp(base.session) :] if base else known,
        holdings=base,
        begins=published[0] if published else None,
        completeness=ready,
        suspicious=suspicious,
        provisional=[*provisional],
        corrections=found,
        renewed=index_metrics.sessions(connection, *which, base.session if base else date.min),
    )


def _shares(constituents: Sequence[Asset], counts: Sequence[StoredCount]) -> list[ShareCount]:
    symbols = {asset.id: asset.symbol for asset in constituents}
    return [
        ShareCount(symbols[one.asset_id], math.nan if one.shares is None else one.shares, one.first)
        for one in counts
        if one.asset_id in symbols
    ]


def _memberships(members: Sequence[Member]) -> list[Membership]:
    return [Membership(one.symbol, one.first, one.last) for one in members]


def _base(
    connection: Connection,
    request: ComputeIndexRequest,
    due_from: date | None,
    universe: list[Asset],
    stored: tuple[date, date],
    published: tuple[date, date] | None,
) -> Holdings | None:
    """The stored level to continue from.

    It is the last before the requested start, or before the first due session; or the last of all.
    None where nothing is published, or all that is published is computed again. Raises
    `IndexImpossible` where the closes of that level's session are gone: a published index never
    starts again.
    """
    which = request.strategy, request.frequency
    begin = date.max
    if (wanted := request.start_date or due_from) is not None:
        begin = max(wanted, _first_computable(request, universe, stored[0], published))
    found = holdings.before(connection, *which, universe, begin)
    if found is None:
        return None
    if found.session < stored[0]:
        raise IndexImpossible(
            f"the index can't go on from {found.session}: the first stored close is of "
            f"{stored[0]}; restore what is between them with `autoindex restore prices "
            f"--from {found.session} --to {stored[0]}`, and refresh again"
        )
    return found


def _first_computable(
    request: ComputeIndexRequest,
    universe: list[Asset],
    oldest: date,
    published: tuple[date, date] | None,
) -> date:
    """The first session that can be recomputed; earlier levels stay as published.

    It has a full lookback of closes, from which no cleanup has removed any, of any stock. Where
    levels are older than those closes, the level to continue from must be among them, too.
    """
    kept = max([oldest, *(one.prices_kept_from for one in universe if one.prices_kept_from)])
    extends_older = published is not None and published[0] < kept
    return sessions.ahead(kept, max(lookback_sessions(request.strategy) - 1, int(extends_older)))


def _window(
    request: ComputeIndexRequest,
    base: Holdings | None,
    stored: tuple[date, date],
    published: tuple[date, date] | None,
) -> tuple[date, date]:
    """First and last session to load; raises `EmptyWindow` where none of them is stored."""
    if request.end_date is not None and request.end_date < stored[0]:
        raise EmptyWindow("end_date", *stored)
    if request.start_date is not None and request.start_date > stored[1]:
        raise EmptyWindow("start_date", *stored)
    # Levels after the requested end depend on the computed ones: they are recomputed, too.
    wanted = max(request.end_date or date.max, published[1] if published else date.min)
    end = min(wanted, stored[1])
    first = base.session if base else max(request.start_date or date.min, stored[0])
    if end < first:
        raise EmptyWindow("end_date" if request.end_date else "start_date", *stored)
    start = sessions.back(first, lookback_sessions(request.strategy) + GAP_SESSIONS)
    if base:
        # A stock that was delisted after it was bought is worth its last close.
        start = min(start, sessions.back(base.decided, GAP_SESSIONS))
    return max(stored[0], start), end


def _benchmark(market: pd.DataFrame, chosen: Asset | None) -> pd.Series | None:
    if chosen is None or market.isna().all(axis=None):
        return None
    return market[chosen.symbol].rename(chosen.name)
