"""Paying for calls during a refresh: a real ledger and sandbox, Prefect's tasks as functions."""

# ruff: noqa: F811  fixtures that come from another folder are imported by name

from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, text

from autoindex.errors import BudgetSpent, ProviderUnavailable
from autoindex.market_data import fetch_plan
from autoindex.market_data.client import TwelveData
from autoindex.market_data.fetch_plan import Batch
from autoindex.requests import Mode
from autoindex.settings import Settings
from autoindex.storage import credits as ledger
from autoindex.storage.cache import from_settings
from autoindex.storage.credits import Plan
from flows import refresh_market_data as refresh
from flows.attempts.credit_budget import DAY_SPENT, MINUTE_SPENT, TIME_LIMIT, Budget
from flows.attempts.runtime import Runtime
from tests.market_data.conftest import client, sandbox, sandbox_url  # noqa: F401  fixtures
from tests.market_data.stage import Asset, Switches, until_early_in_a_minute

NOW = datetime(2022, 12, 28, 22, tzinfo=UTC)
PRO = Plan(per_minute=610, per_day=None)


@pytest.fixture
def run(engine: Engine, settings: Settings) -> Iterator[Runtime]:
    with engine.begin() as connection:
        ledger.store_plan(connection, PRO, datetime.now(UTC))
    with disable_run_logger():
        yield Runtime(settings, engine, from_settings(settings), NOW, uuid4())


def batch(*symbols: str, mode: Mode = Mode.SMART) -> Batch:
    listings = [Asset(symbol) for symbol in symbols]
    due = fetch_plan.due_symbols(listings, dict.fromkeys(symbols, date(2022, 12, 27)), NOW, mode)
    (made,) = fetch_plan.batches(due, 610)
    return made


def booked(run: Runtime, period: str = "day") -> int:
    query = text("select coalesce(max(used), 0) from credit_ledger where period = :period")
    with run.engine.connect() as connection:
        return int(connection.execute(query, {"period": period}).scalar_one())


def fetch(
    client: TwelveData, budget: Budget, wanted: Batch, *, may_defer: bool = False
) -> refresh.FetchOutcome:
    return refresh.fetch.fn(client, budget, wanted, may_defer=may_defer)


FOUR = batch("AAPL", "AMD", "MSFT", "PEP")


def test_every_attempt_sets_aside_its_own_credits(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    sandbox.faults({"kind": "edge_page", "times": 2})
    budget = Budget(run, 60)
    for attempt in (1, 2):
        with pytest.raises(ProviderUnavailable):
            fetch(client, budget, FOUR)
        assert booked(run) == sandbox.credits() == 4 * attempt
    assert fetch(client, budget, FOUR).reply is not None
    assert booked(run) == sandbox.credits() == budget.spent == 12


def test_a_call_without_an_answer_stays_booked(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    sandbox.faults({"kind": "dropped", "times": 1})
    with pytest.raises(ProviderUnavailable):
        fetch(client, Budget(run, 60), FOUR)
    assert booked(run) == 4


def test_what_a_batch_did_not_need_is_given_back(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    whole = batch("AAPL", "AMD", mode=Mode.FULL)
    assert whole.credits == 6  # three pages each since 1970, but the histories begin in 1990
    fetch(client, Budget(run, 60), whole)
    assert booked(run) == booked(run, "minute") == sandbox.credits() == 4


def test_a_batch_taken_apart_pays_for_every_part(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    sandbox.faults({"kind": "too_many_symbols", "times": 1})
    outcome = fetch(client, Budget(run, 60), FOUR)
    assert outcome.reply is not None
    assert len(outcome.reply.fetched) == 4
    calls = sandbox.requests()
    assert [len(call["symbols"]) for call in calls] == [4, 2, 2]
    # The sandbox does not charge what it refuses for its length; the headers say so.
    assert booked(run) == sandbox.credits() == 4


def test_the_question_for_the_plan_is_paid_for_too(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    with run.engine.begin() as connection:
        connection.execute(text("delete from credit_plan"))
    budget = Budget(run, 60)
    assert not budget.is_known
    assert refresh.read_plan_limits.fn(client, budget) is None
    assert (budget.plan, budget.is_known, budget.spent) == (PRO, True, 1)
    assert booked(run) == sandbox.credits() == 1
    assert Budget(run, 60).is_known


def test_a_plan_of_last_week_still_limits_the_question_for_the_new_one(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    with run.engine.begin() as connection:
        ledger.store_plan(connection, Plan(2, 5), datetime.now(UTC))
        connection.execute(text("update credit_plan set asked_at = now() - interval '7 days'"))
        ledger.exhaust(connection, Plan(2, 5), datetime.now(UTC), daily=True)
    assert refresh.read_plan_limits.fn(client, Budget(run, 60)) == DAY_SPENT
    assert sandbox.requests() == []


def test_a_spent_day_ends_it_and_is_remembered(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    sandbox.faults({"kind": "day_exhausted", "times": 1})
    budget = Budget(run, 60)
    assert fetch(client, budget, FOUR) == refresh.FetchOutcome(None, FOUR, DAY_SPENT)
    assert fetch(client, budget, FOUR) == refresh.FetchOutcome(None, FOUR, DAY_SPENT)
    assert len(sandbox.requests()) == 1


def test_a_spent_minute_is_not_waited_for_where_time_is_short(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    sandbox.faults({"kind": "minute_exhausted", "times": 1})
    until_early_in_a_minute()
    assert fetch(client, Budget(run, 60), FOUR) == refresh.FetchOutcome(None, FOUR, None)
    again = fetch(client, Budget(run, 0.05), FOUR)
    assert again.stop in (MINUTE_SPENT, TIME_LIMIT)
    assert len(sandbox.requests()) == 1


def test_as_many_symbols_as_there_are_credits_for(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    with run.engine.begin() as connection:
        ledger.store_plan(connection, Plan(3, 3), datetime.now(UTC))
    outcome = fetch(client, Budget(run, 60), FOUR)
    assert outcome.reply is not None
    assert [one.due.symbol for one in outcome.reply.fetched] == ["AAPL", "AMD", "MSFT"]
    assert outcome.later is not None
    assert outcome.later.symbols == ("PEP",)
    assert fetch(client, Budget(run, 60), outcome.later).stop == DAY_SPENT


def test_the_time_limit_stops_before_the_next_call(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    assert fetch(client, Budget(run, 0), FOUR) == refresh.FetchOutcome(None, FOUR, TIME_LIMIT)
    assert sandbox.requests() == []
    with Budget(run, 60).open(FOUR) as account:
        account._budget = Budget(run, 0)
        with pytest.raises(BudgetSpent, match=TIME_LIMIT):
            client.fetch(FOUR, account)
    assert booked(run) == 0


def test_a_failure_too_late_to_be_retried_defers(
    run: Runtime, client: TwelveData, sandbox: Switches
) -> None:
    sandbox.faults({"kind": "edge_page"})
    outcome = fetch(client, Budget(run, 30), FOUR, may_defer=True)
    assert outcome.reply is None
    assert outcome.later == FOUR
    assert str(outcome.stop).startswith("the time limit; the provider responded with 502")
    with pytest.raises(ProviderUnavailable):  # nothing was done: that is no success
        fetch(client, Budget(run, 30), FOUR, may_defer=False)


def test_a_call_in_another_minute_is_paid_for_there(run: Runtime) -> None:
    with Budget(run, 60).open(FOUR) as account:
        account._reserved = ledger.Reservation(4, datetime(2026, 3, 2, tzinfo=UTC), day_spent=False)
        account.reserve_call(4)
        assert booked(run, "minute") == 8  # the four of the beginning, and four of now
