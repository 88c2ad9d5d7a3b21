"""Imports beside a published past: what they say counts from the next session on."""

from collections.abc import Callable
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from autoindex.errors import InvalidRequest, UnknownSymbols
from autoindex.requests import Frequency, Strategy
from autoindex.storage import audit, versions
from autoindex.storage.audit import Author
from autoindex.storage.index import corrections
from autoindex.storage.universe import (
    assets,
    membership_changes,
    memberships,
    share_counts,
    timeline,
    universe_changes,
)
from autoindex.storage.universe.memberships import Span, Timeline
from autoindex.storage.universe.published_past import PublishedPast
from autoindex.storage.universe.universe_import import Imported, UniverseImport, import_universe
from autoindex.storage.universe.universe_row import UniverseRow

# A Wednesday; the next session is Thursday 29 December.
PUBLISHED = date(2022, 12, 28)
NEXT = date(2022, 12, 29)
TODAY = date(2022, 12, 28)
DAY = date(2022, 6, 30)
LATER = date(2023, 3, 1)
ALWAYS = (Span("constituent", date.min, date.max),)
OLD = (Span("constituent", date.min, PUBLISHED),)
NEW = (Span("constituent", NEXT, date.max),)
PAST = PublishedPast(PUBLISHED, NEXT)


def row(symbol: str = "GE", **values: Any) -> UniverseRow:
    known = {"exchange": "NYSE", "currency": "USD", "name": symbol}
    return UniverseRow(symbol=symbol, **(known | values))


def publish(connection: Connection, session: date = PUBLISHED) -> None:
    level = text("insert into index_levels values ('composite', 'monthly', :day, 100)")
    connection.execute(level, {"day": session})


def imported(connection: Connection, *rows: UniverseRow, today: date = TODAY) -> Imported:
    return import_universe(connection, rows, today=today, by="ann")


def spans(connection: Connection, symbol: str = "GE") -> Timeline:
    (asset,) = assets.named(connection, [symbol])
    return memberships.timelines(connection)[asset.id]


def counts(connection: Connection) -> list[tuple[date, float | None]]:
    return [(one.first, one.shares) for one in share_counts.load(connection)]


def test_without_a_publication_everything_counts_from_the_beginning(engine: Engine) -> None:
    with engine.begin() as connection:
        imported(connection, row(), row("KO", active=False), row("PG", member_to=DAY))
        assert spans(connection) == ALWAYS
        assert spans(connection, "KO") == ()
        assert spans(connection, "PG") == (Span("constituent", date.min, DAY),)
        imported(connection, row(role="benchmark"))
        assert spans(connection) == (Span("benchmark", date.min, date.max),)
        imported(connection, row(active=False), row("PG", member_from=DAY))
        assert spans(connection) == ()
        assert spans(connection, "PG") == (Span("constituent", DAY, date.max),)


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        ((), {}, NEW),
        ((), {"active": False}, ()),
        ((), {"member_to": date(2023, 1, 3)}, (Span("constituent", NEXT, date(2023, 1, 3)),)),
        (ALWAYS, {}, ALWAYS),
        (ALWAYS, {"active": False}, OLD),
        (ALWAYS, {"role": "benchmark"}, (*OLD, Span("benchmark", NEXT, date.max))),
        (
            ALWAYS,
            {"role": "benchmark", "member_from": date(2023, 2, 1)},
            (
                Span("constituent", date.min, date(2023, 1, 31)),
                Span("benchmark", date(2023, 2, 1), date.max),
            ),
        ),
        (ALWAYS, {"member_to": PUBLISHED}, OLD),
        (OLD, {}, ALWAYS),
        (OLD, {"active": False}, OLD),
        (OLD, {"member_from": NEXT}, (*OLD, *NEW)),
        ((*OLD, Span("benchmark", NEXT, date.max)), {}, ALWAYS),
        (
            (Span("constituent", date.min, date(2023, 2, 1)), Span("constituent", LATER, date.max)),
            {"role": "benchmark"},
            (*OLD, Span("benchmark", NEXT, date(2023, 2, 1)), Span("constituent", LATER, date.max)),
        ),
        ((Span("constituent", DAY, DAY),), {}, (Span("constituent", DAY, DAY), *NEW)),
        (NEW, {"role": "benchmark"}, (Span("benchmark", NEXT, date.max),)),
        (NEW, {"active": False}, ()),
        ((Span("constituent", DAY, date.max),), {"member_from": DAY}, None),
        ((Span("constituent", DAY, date(2023, 2, 1)),), {}, None),
    ],
)
def test_what_a_row_makes_of_memberships(
    before: Timeline, values: dict[str, Any], after: Timeline | None
) -> None:
    """Nothing of it lies in the published past, and the same row again changes nothing."""
    found = timeline.wanted(before, row(**values), PAST)
    assert found == (before if after is None else after)
    assert timeline.up_to(found, PUBLISHED) == timeline.up_to(before, PUBLISHED)
    assert timeline.wanted(found, row(**values), PAST) == found


@pytest.mark.parametrize(
    ("before", "values", "reason"),
    [
        ({}, {"member_from": DAY}, "member_from: would change what is published up to 2022-12-28"),
        ({}, {"member_to": DAY}, "member_to: would change what is published up to 2022-12-28"),
        ({}, {"member_from": NEXT}, "it was constituent from the beginning on"),
        ({"member_from": DAY}, {"member_from": date(2022, 7, 1)}, "constituent from 2022-06-30 on"),
        ({"active": False}, {"member_from": DAY}, "member_from: would change"),
        ({"active": False}, {"member_to": DAY}, "member_to: lies before the membership begins"),
    ],
)
def test_the_published_past_is_refused(
    engine: Engine, before: dict[str, Any], values: dict[str, Any], reason: str
) -> None:
    with engine.begin() as connection:
        imported(connection, row(**before))
        publish(connection)
        importing = UniverseImport(connection, TODAY, "ann")
        assert importing.refusal(row(**before)) is None
        assert reason in (importing.refusal(row(**values)) or "")
        with pytest.raises(InvalidRequest, match="GE: column member"):
            imported(connection, row(**values))


def test_a_new_count_counts_from_its_day_but_from_no_published_session(engine: Engine) -> None:
    october = date(2022, 10, 17)

    def of(count: int, day: date) -> UniverseRow:
        return row(shares_outstanding=count, shares_outstanding_date=day)

    with engine.begin() as connection:
        imported(connection, of(100, october))
        imported(connection, of(90, DAY))
        assert counts(connection) == [(DAY, 90), (october, 100)]
        publish(connection)
        for repeated in (of(90, DAY), of(100, october), row()):
            assert imported(connection, repeated) == Imported(0, 0, 1)
        # Older than what counts, so it would only count for what is published.
        assert imported(connection, of(95, date(2022, 8, 1))) == Imported(0, 0, 1)
        assert imported(connection, of(110, october)) == Imported(0, 1, 0)
        assert imported(connection, of(110, october)) == Imported(0, 0, 1)
        assert counts(connection)[2:] == [(NEXT, 110)]
        assert imported(connection, of(120, NEXT), today=NEXT) == Imported(0, 1, 0)
        assert counts(connection)[2:] == [(NEXT, 120)]


def test_what_is_backdated_is_a_correction(engine: Engine) -> None:
    october = date(2022, 10, 17)
    with engine.begin() as connection:
        for symbol in ("GE", "KO", "PG"):
            imported(connection, row(symbol))
        publish(connection, date(2022, 1, 3))
        publish(connection)
        publication = text("""
            insert into publications (strategy, frequency, first, last, cause)
            values ('composite', 'monthly', '2022-01-03', '2022-12-28', 'test')
        """)
        connection.execute(publication)
        importing = UniverseImport(connection, TODAY, "ann", backdate=True)
        shares = {"shares_outstanding": 100, "shares_outstanding_date": october}
        rows = [row(member_to=october), row("KO", **shares), row("PG"), row("NEW", **shares)]
        assert importing.store(rows) == Imported(1, 2, 1)
        imported(connection, row("OFF", active=False))
        assert universe_changes.load(connection)[-1].change == "OFF: no member"
        assert importing.refusal(rows[0]) is None
        found = corrections.load(connection, Strategy.COMPOSITE, Frequency.MONTHLY)
        noted = [(one.symbol, one.session, one.pending) for one in found]
        # A first count also counts before its day; a new stock changes nothing that is published.
        begin = date(2022, 1, 3)
        assert noted == [("KO", begin, False), ("GE", date(2022, 10, 18), False)]
        assert spans(connection) == (Span("constituent", date.min, october),)


def test_a_first_count_does_not_count_for_what_was_published_without(engine: Engine) -> None:
    with engine.begin() as connection:
        imported(connection, row())
        publish(connection)
        shares = {"shares_outstanding": 100, "shares_outstanding_date": DAY}
        imported(connection, row(**shares), row("KO", **shares))
        assert counts(connection) == [(date.min, None), (NEXT, 100), (NEXT, 100)]


def test_a_new_count_does_not_count_before_the_first_one_that_was_published(
    engine: Engine,
) -> None:
    """The first count is of a later day, and counts for all that is published."""
    new_year = date(2023, 1, 2)

    def of(count: int, day: date) -> UniverseRow:
        return row(shares_outstanding=count, shares_outstanding_date=day)

    with engine.begin() as connection:
        imported(connection, of(100, new_year))
        publish(connection)
        imported(connection, of(300, new_year))
        imported(connection, of(200, NEXT))
        assert counts(connection) == [(date.min, 100), (NEXT, 200), (new_year, 300)]


def test_every_change_is_recorded_once_and_raises_the_version(engine: Engine) -> None:
    with engine.begin() as connection:
        for _ in range(2):
            imported(connection, row(shares_outstanding=1000, shares_outstanding_date=DAY))
        publish(connection)
        for _ in range(2):
            imported(connection, row(name="General Electric"))
            membership_changes.deactivate(connection, ["GE"], "bob")
        for _ in range(2):
            assets.rename(connection, "GE", "GEN", "bob")
        found = universe_changes.load(connection)
        assert [(one.changed_by, one.change) for one in found] == [
            ("ann", "GE: constituent from the beginning on"),
            ("ann", "GE: 1,000 shares of 2022-06-30 count from 2022-06-30 on"),
            ("ann", "GE: name is General Electric"),
            ("bob", "GE: constituent from the beginning to 2022-12-28"),
            ("ann", "GE: constituent from the beginning on"),
            ("bob", "GE: constituent from the beginning to 2022-12-28"),
            ("bob", "GE renamed to GEN"),
        ]
        # An import, a name, three memberships, a symbol.
        assert versions.current(connection, versions.UNIVERSE) == 6


def test_activated_and_deactivated(engine: Engine) -> None:
    with engine.begin() as connection:
        imported(connection, row(), row("SPX", role="benchmark"), row("SPY", active=False))
        publish(connection)
        assert membership_changes.deactivate(connection, ["GE", "SPX"], "ann") == 2
        assert membership_changes.deactivate(connection, ["GE"], "ann") == 0
        assert spans(connection) == OLD
        membership_changes.activate(connection, ["SPX"], "ann")
        assert spans(connection, "SPX") == (Span("benchmark", date.min, date.max),)
        assert membership_changes.activate(connection, ["GE", "SPY"], "ann") == 2
        assert spans(connection) == ALWAYS
        assert spans(connection, "SPY") == NEW
        assert membership_changes.deactivate(connection, ["GE"], "ann", LATER) == 1
        assert spans(connection) == (Span("constituent", date.min, date(2023, 2, 28)),)
        with pytest.raises(InvalidRequest, match="2022-12-28 is published"):
            membership_changes.deactivate(connection, ["GE"], "ann", PUBLISHED)
        with pytest.raises(UnknownSymbols, match="XOM"):
            membership_changes.activate(connection, ["GE", "XOM"], "ann")


def test_a_second_benchmark_is_not_activated(engine: Engine) -> None:
    with engine.begin() as connection:
        imported(connection, row("SPX", role="benchmark"))
        publish(connection)
        membership_changes.deactivate(connection, ["SPX"], "ann")
        imported(connection, row("SPY", role="benchmark"))
        with pytest.raises(InvalidRequest, match="SPY is the benchmark"):
            membership_changes.activate(connection, ["SPX"], "ann")


def test_a_symbol_of_an_asset_that_was_removed_is_not_known(engine: Engine) -> None:
    with engine.begin() as connection:
        imported(connection, row(), row("KO"))
        for old in ("GE", "KO"):
            assets.rename(connection, old, f"{old}N", "ann")
        audit.record(connection, Author("ann"), "restore", "prices")
        (ge,) = assets.named(connection, ["GEN"])
        connection.execute(text("delete from assets where symbol = 'KON'"))
        assert universe_changes.former_symbols(connection) == {"GE": ge.id}


def test_a_new_symbol_keeps_the_asset(engine: Engine) -> None:
    with engine.begin() as connection:
        imported(connection, row(), row("KO"))
        (before,) = assets.named(connection, ["GE"])
        assert assets.rename(connection, "GE", "GEN", "ann", date(2022, 12, 1))
        recorded = universe_changes.load(connection)[-1].change
        assert recorded == "GE renamed to GEN from 2022-12-01 on"
        assert not assets.rename(connection, "GE", "GEN", "ann")
        (after,) = assets.named(connection, ["GEN"])
        assert after.id == before.id
        with pytest.raises(InvalidRequest, match="KO is another stock's already"):
            assets.rename(connection, "GEN", "KO", "ann")
        with pytest.raises(UnknownSymbols, match="XOM"):
            assets.rename(connection, "XOM", "KO", "ann")


def test_whose_prices_are_wanted(engine: Engine) -> None:
    """Of members, of those that become members, and of what the index still needs."""
    with engine.begin() as connection:
        imported(connection, row(), row("KO"))
        publish(connection)
        (held,) = assets.named(connection, ["KO"])
        allocation = text(
            "insert into allocations values ('composite', 'monthly', '2022-12-01', :id, 1, 1)"
        )
        connection.execute(allocation, {"id": held.id})
        membership_changes.deactivate(connection, ["GE", "KO"], "ann")
        imported(connection, row("PG"))
        found = memberships.resolve(connection, NEXT)
        assert [one.symbol for one in found] == ["KO", "PG"]
        assert memberships.resolve(connection, NEXT, ["KO"]) == [held]
        with pytest.raises(UnknownSymbols, match="GE"):
            memberships.resolve(connection, NEXT, ["GE"])
        # A provisional session waits for it, although it is neither a member nor held any more.
        connection.execute(text("update index_levels set missing = '{GE}'"))
        found = memberships.resolve(connection, NEXT)
        assert [one.symbol for one in found] == ["GE", "KO", "PG"]


sessions = st.sampled_from([date(2022, 12, day) for day in range(27, 31)])
roles = st.sampled_from(["constituent", "benchmark"])
dates = st.none() | st.dates(date(2022, 12, 20), date(2023, 1, 20))
changes = st.builds(
    lambda **values: lambda spans, past: timeline.wanted(spans, row(**values), past),
    role=roles,
    active=st.booleans(),
    member_from=dates,
    member_to=dates,
) | st.just(timeline.reopened)


@given(st.lists(st.tuples(sessions, changes), max_size=8))
@settings(max_examples=300, deadline=None)
def test_no_sequence_of_changes_touches_what_is_published(
    steps: list[tuple[date, Callable[[Timeline, PublishedPast], Timeline]]],
) -> None:
    """What an import refuses is left out; the rest is in order, without overlaps."""
    spans: Timeline = ()
    for session, change in sorted(steps, key=lambda step: step[0]):
        past = PublishedPast(session, _next(session))
        new = change(spans, past)
        if timeline.up_to(new, past.last) == timeline.up_to(spans, past.last):
            spans = new if all(one.first <= one.last for one in new) else spans
        assert all(one.last < two.first for one, two in pairwise(spans))


def _next(session: date) -> date:
    return date(2023, 1, 3) if session.day == 30 else session.replace(day=session.day + 1)
