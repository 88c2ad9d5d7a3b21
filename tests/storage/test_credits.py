"""The ledger of credits, in a real PostgreSQL, with several workers at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from autoindex.storage import credits as ledger
from autoindex.storage.credits import Plan
from autoindex.storage.tables import credit_ledger

BASIC = Plan(per_minute=8, per_day=800)
PRO = Plan(per_minute=610, per_day=None)
NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as made:
        yield made


def used(connection: Connection) -> dict[tuple[str, str], int]:
    rows = connection.execute(select(credit_ledger))
    return {(row.period, f"{row.starts_at:%d %H:%M}"): row.used for row in rows}


def granted(connection: Connection, wanted: int, now: datetime, plan: Plan = BASIC) -> int:
    return ledger.reserve(connection, wanted, plan, now).granted


def test_a_minute_gives_what_it_has_and_the_next_gives_it_again(connection: Connection) -> None:
    assert [granted(connection, 5, NOON) for _ in range(3)] == [5, 3, 0]
    assert granted(connection, 5, NOON + MINUTE) == 5
    assert used(connection) == {
        ("minute", "02 12:00"): 8,
        ("minute", "02 12:01"): 5,
        ("day", "02 00:00"): 13,
    }


def test_less_than_is_worth_having_is_not_granted(connection: Connection) -> None:
    granted(connection, 6, NOON)
    refused = ledger.reserve(connection, 6, BASIC, NOON, at_least=3)
    assert (refused.granted, refused.day_spent) == (0, False)
    assert granted(connection, 2, NOON) == 2


def test_the_day_ends_it_until_midnight_utc(connection: Connection) -> None:
    plan = Plan(per_minute=100, per_day=150)
    assert granted(connection, 100, NOON, plan) == 100
    last = ledger.reserve(connection, 100, plan, NOON + MINUTE)
    assert (last.granted, last.day_spent) == (50, True)
    refused = ledger.reserve(connection, 1, plan, NOON + 2 * MINUTE)
    assert (refused.granted, refused.day_spent) == (0, True)
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    assert granted(connection, 100, midnight - 3 * timedelta(seconds=1), plan) == 0
    assert granted(connection, 100, midnight, plan) == 100


def test_days_and_minutes_are_those_of_utc(connection: Connection) -> None:
    granted(connection, 8, NOON)
    assert granted(connection, 1, NOON.astimezone(ZoneInfo("Asia/Kolkata"))) == 0


def test_a_call_at_the_end_of_a_minute_is_booked_in_both(connection: Connection) -> None:
    late = NOON.replace(second=59)
    booked = ledger.reserve(connection, 5, BASIC, late)
    assert granted(connection, 8, late + timedelta(seconds=2)) == 3

    ledger.correct(connection, booked, spent=1, now=late)
    assert used(connection)["minute", "02 12:00"] == 1
    assert used(connection)["minute", "02 12:01"] == 4


def test_what_was_not_spent_is_given_back(connection: Connection) -> None:
    booked = ledger.reserve(connection, 6, BASIC, NOON)
    ledger.correct(connection, booked, spent=4, now=NOON, used_this_minute=4)
    assert used(connection) == {("minute", "02 12:00"): 4, ("day", "02 00:00"): 4}
    assert granted(connection, 8, NOON) == 4


def test_the_provider_is_believed_where_it_has_counted_more(connection: Connection) -> None:
    booked = ledger.reserve(connection, 2, BASIC, NOON)
    ledger.reserve(connection, 2, BASIC, NOON)  # still on its way: the provider knows of 2 only
    ledger.correct(connection, booked, spent=2, now=NOON, used_this_minute=2)
    assert used(connection)["minute", "02 12:00"] == 4
    # Somebody else uses the same key.
    ledger.correct(connection, booked, spent=2, now=NOON, used_this_minute=7)
    assert used(connection)["minute", "02 12:00"] == 7
    assert granted(connection, 8, NOON) == 1


def test_an_answer_in_a_later_minute_is_booked_there_too(connection: Connection) -> None:
    booked = ledger.reserve(connection, 5, BASIC, NOON)
    ledger.correct(connection, booked, spent=2, now=NOON + MINUTE, used_this_minute=8)
    # The provider's count may be that of the minute before: it is not believed.
    assert used(connection) == {
        ("minute", "02 12:00"): 2,
        ("minute", "02 12:01"): 2,
        ("day", "02 00:00"): 2,
    }


@pytest.mark.parametrize("plan", [BASIC, PRO])
@pytest.mark.parametrize("daily", [False, True])
def test_what_the_provider_calls_spent_is_spent_for_all(
    connection: Connection, plan: Plan, *, daily: bool
) -> None:
    ledger.exhaust(connection, plan, NOON, daily=daily)
    refused = ledger.reserve(connection, 1, plan, NOON)
    assert (refused.granted, refused.day_spent) == (0, daily)
    assert granted(connection, 1, NOON + MINUTE, plan) == (0 if daily else 1)
    assert granted(connection, 1, NOON + timedelta(days=1), plan) == 1


def test_the_plan_is_known_for_a_day(connection: Connection) -> None:
    assert ledger.plan(connection, NOON) is None
    ledger.store_plan(connection, PRO, NOON)
    ledger.store_plan(connection, BASIC, NOON, used_this_minute=3, used_today=798)
    assert ledger.plan(connection, NOON + timedelta(hours=23)) == BASIC
    assert ledger.plan(connection, NOON + timedelta(hours=25)) is None
    assert granted(connection, 8, NOON) == 2


def test_old_minutes_are_forgotten(connection: Connection) -> None:
    granted(connection, 1, NOON)
    ledger.store_plan(connection, BASIC, NOON + timedelta(days=8))
    assert ("minute", "02 12:00") not in used(connection)


def test_the_next_minute() -> None:
    assert ledger.next_minute(NOON) == datetime(2026, 3, 2, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("plan", "limit"), [(BASIC, 8), (PRO, 610), (Plan(per_minute=50, per_day=30), 30)]
)
def test_four_workers_at_once_never_exceed_a_limit(engine: Engine, plan: Plan, limit: int) -> None:
    """Each asks, commits and asks again until nothing is left, all within one minute."""
    start = Barrier(4)

    def work(worker: int) -> int:
        total = 0
        start.wait()
        with engine.connect() as own:
            for ask in range(400):
                with own.begin():
                    got = granted(own, 1 + (worker + ask) % 7, NOON, plan)
                total += got
                if not got:
                    break
        return total

    with ThreadPoolExecutor(4) as workers:
        assert sum(workers.map(work, range(4))) == limit


def test_four_workers_that_give_back_never_exceed_a_limit_either(engine: Engine) -> None:
    plan = Plan(per_minute=40, per_day=100)
    start = Barrier(4)

    def work(worker: int) -> dict[datetime, int]:
        spent: dict[datetime, int] = {}
        start.wait()
        for minute in range(4):
            now = NOON + minute * MINUTE
            for _ in range(8):
                with engine.begin() as own:
                    booked = ledger.reserve(own, 6, plan, now, at_least=3)
                if not booked.granted:
                    break
                cost = booked.granted - (worker % 3)
                spent[now] = spent.get(now, 0) + cost
                with engine.begin() as own:
                    ledger.correct(own, booked, cost, now)
        return spent

    with ThreadPoolExecutor(4) as workers:
        all_spent = list(workers.map(work, range(4)))
    by_minute = [
        sum(one.get(NOON + minute * MINUTE, 0) for one in all_spent) for minute in range(4)
    ]
    assert max(by_minute) <= 40
    assert 97 <= sum(by_minute) <= 100


# Every example is rolled back, so one database serves them all.
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12),  # wanted
            st.integers(0, 400),  # seconds later
            st.integers(0, 12),  # spent, at most what was granted
        ),
        max_size=30,
    )
)
def test_no_minute_and_no_day_is_ever_overdrawn(
    engine: Engine, asks: list[tuple[int, int, int]]
) -> None:
    plan = Plan(per_minute=10, per_day=60)
    spent_at: list[tuple[datetime, int]] = []
    now = datetime(2026, 3, 2, 23, 50, tzinfo=UTC)
    with engine.connect() as own, own.begin() as transaction:
        for wanted, later, cost in asks:
            now += timedelta(seconds=later)
            booked = ledger.reserve(own, wanted, plan, now)
            spent = min(cost, booked.granted)
            ledger.correct(own, booked, spent, now)
            # The provider may count it up to a second later than it was sent.
            spent_at.append((now + timedelta(seconds=cost % 2), spent))
        transaction.rollback()
    for unit, limit in (("%H:%M", 10), ("%d", 60)):
        periods = {when.strftime(unit) for when, _ in spent_at}
        for period in periods:
            assert sum(c for when, c in spent_at if when.strftime(unit) == period) <= limit


def test_what_is_spent_of_a_day(connection: Connection) -> None:
    assert ledger.day_usage(connection, NOON) is None
    ledger.store_plan(connection, BASIC, NOON)
    assert ledger.day_usage(connection, NOON) == ledger.DayUsage(0, 800)
    ledger.reserve(connection, 5, BASIC, NOON)
    assert ledger.day_usage(connection, NOON) == ledger.DayUsage(5, 800)
    assert ledger.day_usage(connection, NOON + 24 * 60 * MINUTE) is None
    ledger.store_plan(connection, PRO, NOON)
    assert ledger.day_usage(connection, NOON) is None
    assert set(ledger.left(connection, NOON)) == {"minute"}
    # Where no limit was known of, the provider may all the same say that the day is spent.
    ledger.exhaust(connection, PRO, NOON, daily=True)
    spent = ledger.day_usage(connection, NOON)
    assert spent is not None
    assert spent.limit is None
    assert ledger.left(connection, NOON)["day"] == 0
