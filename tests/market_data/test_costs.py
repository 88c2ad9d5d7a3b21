"""Smart costs what it must and no more, as the sandbox counts it."""

from datetime import UTC, date, datetime

import numpy as np

from autoindex.market_data import fetch_plan
from autoindex.market_data.client import TwelveData
from autoindex.market_data.restatement import compare
from tests.market_data.stage import AFTER_LAST_CLOSE, Asset, Refresh, Switches

LAST = date(2022, 12, 28)


def test_an_up_to_date_universe_asks_nothing(
    refresh: Refresh, sandbox: Switches, universe: list[Asset]
) -> None:
    assert refresh(universe, LAST) == []
    assert sandbox.requests() == []


def test_a_missing_session_costs_a_credit_a_symbol(
    refresh: Refresh, sandbox: Switches, universe: list[Asset]
) -> None:
    newest = {one.symbol: LAST for one in universe} | {
        "AAPL": date(2022, 12, 27),
        "KO": date(2022, 12, 27),
        "SPX": date(2022, 6, 1),
    }
    replies = refresh(universe, newest)

    assert sandbox.credits() == sum(reply.credits.spent for reply in replies) == 3
    assert sorted(one["symbols"] for one in sandbox.requests()) == [["AAPL"], ["KO"], ["SPX"]]


def test_the_first_load_costs_a_credit_a_page(
    refresh: Refresh, sandbox: Switches, universe: list[Asset]
) -> None:
    replies = refresh(universe)

    # 8,313 sessions are two pages of 5,000, for 21 symbols; one call an exchange and page.
    assert sandbox.credits() == sum(reply.credits.spent for reply in replies) == 42
    assert len(sandbox.requests()) == 6
    assert sum(len(one.bars) for reply in replies for one in reply.fetched) == 21 * 8313


def test_a_week_of_hourly_runs_costs_each_closed_session_once(
    refresh: Refresh, sandbox: Switches
) -> None:
    # Monday 19 December to the morning of the 28th: seven sessions close, a holiday passes.
    asset, newest = Asset("AAPL"), date(2022, 12, 16)
    for hour in range(9 * 24):
        now = datetime.fromtimestamp(1_671_408_000 + hour * 3600, UTC)
        sandbox.clock(now)
        for reply in refresh([asset], newest, now=now):
            newest = reply.fetched[0].bars.sessions[-1].item()

    assert newest == date(2022, 12, 27)
    assert sandbox.credits() == 6
    closes = {call["parameters"]["end_date"] for call in sandbox.requests()}
    assert closes == {f"2022-12-{day}" for day in (20, 21, 22, 23, 24, 28)}


def test_a_restatement_costs_the_pages_of_that_symbol_only(
    client: TwelveData, refresh: Refresh, sandbox: Switches
) -> None:
    assets = [Asset("AAPL"), Asset("AMD"), Asset("MSFT")]
    stored = {one.bars.symbol: one.bars for one in refresh(assets)[0].fetched}
    sandbox.set("splits", {"AMD": {"session": "2022-12-28", "ratio": 2}})
    before = sandbox.credits()

    due = fetch_plan.due_symbols(
        assets, dict.fromkeys(stored, date(2022, 12, 27)), now=AFTER_LAST_CLOSE
    )
    (batch,) = fetch_plan.batches(due, 610)
    restated = [
        fetched.due.refetch(kept_from=None)
        for fetched in client.fetch(batch).fetched
        if compare(
            fetched.bars, stored[fetched.due.symbol].sessions, stored[fetched.due.symbol].close
        ).is_restated
    ]
    (again,) = fetch_plan.batches(restated, 610)
    (whole,) = client.fetch(again).fetched

    assert again.symbols == ("AMD",)
    assert np.allclose(whole.bars.close * 2, stored["AMD"].close)
    assert sandbox.credits() - before == 3 + 2


def test_no_call_is_larger_than_a_minute_of_the_smallest_plan(
    refresh: Refresh, sandbox: Switches, universe: list[Asset]
) -> None:
    refresh(universe, date(2022, 12, 27), per_minute=8)
    # Eight symbols at a time in the order of the alphabet, one call for each of their exchanges.
    assert [call["credits"] for call in sandbox.requests()] == [2, 6, 6, 2, 4, 1]
    assert sandbox.credits() == 21
