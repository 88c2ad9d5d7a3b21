"""What is due, from when on, and in which calls."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoindex.market_data.fetch_plan import (
    Answered,
    Batch,
    Due,
    batches,
    due_symbols,
    silent_symbols,
)
from autoindex.requests import Mode
from tests.market_data.stage import AFTER_LAST_CLOSE, Asset

LAST = date(2022, 12, 28)
ASSETS = [Asset("AAPL"), Asset("KO", "NYSE"), Asset("MSFT")]


def symbols(due: Sequence[Due]) -> list[str]:
    return [one.symbol for one in due]


def some(count: int, pages: int = 1, exchange: str = "NYSE", start: date = LAST) -> list[Due]:
    return [
        Due(f"S{n:04d}", exchange, "USD", None, start, LAST, whole=True, pages=pages)
        for n in range(count)
    ]


def test_nothing_is_due_when_everything_is_up_to_date() -> None:
    newest = {one.symbol: LAST for one in ASSETS}
    assert due_symbols(ASSETS, newest, AFTER_LAST_CLOSE) == []


# Instants at which nothing has closed since the session before: New York is five hours behind
# UTC in winter, four in summer. Half days and holidays as published by the NYSE.
@pytest.mark.parametrize(
    ("newest", "now"),
    [
        (date(2022, 12, 27), datetime(2022, 12, 28, 20, 59, 59, tzinfo=UTC)),  # a minute early
        (date(2022, 12, 23), datetime(2022, 12, 25, 12, 0, tzinfo=UTC)),  # Sunday
        (date(2022, 12, 23), datetime(2022, 12, 26, 22, 0, tzinfo=UTC)),  # Christmas, observed
        (date(2022, 11, 23), datetime(2022, 11, 24, 22, 0, tzinfo=UTC)),  # Thanksgiving
        (date(2022, 11, 23), datetime(2022, 11, 25, 17, 59, tzinfo=UTC)),  # half day, still open
        (date(2022, 11, 25), datetime(2022, 11, 27, 23, 0, tzinfo=UTC)),
        (date(2022, 6, 17), datetime(2022, 6, 20, 21, 0, tzinfo=UTC)),  # Juneteenth, observed
        (date(2001, 9, 10), datetime(2001, 9, 16, 12, 0, tzinfo=UTC)),  # closed for four sessions
    ],
)
def test_nothing_is_due_while_no_session_has_closed(newest: date, now: datetime) -> None:
    assert due_symbols([Asset("AAPL")], {"AAPL": newest}, now) == []


@pytest.mark.parametrize(
    ("newest", "now", "start", "end"),
    [
        (  # a half day closes at one o'clock
            date(2022, 11, 23),
            datetime(2022, 11, 25, 18, 0, tzinfo=UTC),
            date(2022, 11, 17),
            date(2022, 11, 25),
        ),
        (
            date(2022, 12, 27),
            datetime(2022, 12, 28, 21, 0, tzinfo=UTC),
            date(2022, 12, 20),
            date(2022, 12, 28),
        ),
        (  # summer time
            date(2022, 7, 1),
            datetime(2022, 7, 5, 20, 0, tzinfo=UTC),
            date(2022, 6, 27),
            date(2022, 7, 5),
        ),
    ],
)
def test_a_closed_session_is_due_with_an_overlap_of_five(
    newest: date, now: datetime, start: date, end: date
) -> None:
    (due,) = due_symbols([Asset("AAPL")], {"AAPL": newest}, now)
    assert (due.start, due.end, due.whole, due.pages) == (start, end, False, 1)


def test_the_most_stale_come_first_and_ties_by_symbol() -> None:
    assets = [Asset(name) for name in ("D", "C", "B", "A", "NEW")]
    newest = {
        "A": date(2022, 12, 27),
        "B": date(2022, 12, 20),
        "C": date(2022, 12, 20),
        "D": date(2022, 12, 27),
    }
    due = due_symbols(assets, newest, AFTER_LAST_CLOSE)
    assert symbols(due) == ["NEW", "B", "C", "A", "D"]


@pytest.mark.parametrize(("mode", "force"), [(Mode.FULL, False), (Mode.SMART, True)])
def test_full_and_forced_ask_for_the_whole_history_of_all(mode: Mode, *, force: bool) -> None:
    newest = {one.symbol: LAST for one in ASSETS}
    due = due_symbols(ASSETS, newest, AFTER_LAST_CLOSE, mode, force=force)

    assert symbols(due) == ["AAPL", "KO", "MSFT"]
    # 13,370 sessions from 1970 to the end of 2022: three pages of 5,000.
    assert {(one.start, one.whole, one.pages) for one in due} == {(date(1970, 1, 1), True, 3)}


def test_full_begins_with_what_was_fetched_whole_the_longest_ago() -> None:
    assets = [Asset(name) for name in ("A", "B", "C", "D", "E")]
    morning, noon = (datetime(2026, 3, 2, hour, tzinfo=UTC) for hour in (9, 12))
    answered = {
        "A": Answered(AFTER_LAST_CLOSE, noon),
        "B": Answered(AFTER_LAST_CLOSE, None),
        "C": Answered(AFTER_LAST_CLOSE, noon),
        "D": Answered(AFTER_LAST_CLOSE, morning),
    }
    newest = {"A": date(2022, 12, 1), "E": LAST}
    due = due_symbols(assets, newest, AFTER_LAST_CLOSE, Mode.FULL, answered=answered)
    assert symbols(due) == ["B", "E", "D", "A", "C"]


# The last close is Wednesday's at 21:00 UTC; OTHER is what the provider serves besides.
@pytest.mark.parametrize(
    ("newest", "other", "asked", "silent"),
    [
        (date(2022, 12, 27), LAST, "2022-12-28T21:05", False),  # its bar may still come
        (date(2022, 12, 27), LAST, "2022-12-29T00:05", True),
        (date(2022, 12, 27), date(2022, 12, 27), "2022-12-29T00:05", False),  # nobody has one
        (date(2022, 12, 27), LAST, "2022-12-28T20:05", False),  # before that close
        (LAST, LAST, "2022-12-29T00:05", False),  # it has it: neither due nor silent
        # Others have had a week of bars: asked for once after each close, come what may.
        (date(2022, 12, 16), LAST, "2022-12-28T21:05", True),
        (date(2022, 12, 16), date(2022, 12, 27), "2022-12-28T21:05", True),
        (date(2022, 12, 16), LAST, "2022-12-28T20:05", False),
        (None, LAST, "2022-12-28T21:05", True),
        (None, None, "2022-12-28T21:05", True),
    ],
)
def test_who_has_nothing_new_is_not_asked_again_before_the_next_close(
    newest: date | None, other: date | None, asked: str, *, silent: bool
) -> None:
    known = {"GONE": newest, "OTHER": other}
    stored = {symbol: day for symbol, day in known.items() if day}
    answered = {"GONE": Answered(datetime.fromisoformat(asked).replace(tzinfo=UTC), None)}
    now = datetime(2022, 12, 29, 12, tzinfo=UTC)
    assert silent_symbols(stored, answered, now) == ({"GONE"} if silent else set())
    after_the_next_close = datetime(2022, 12, 29, 21, 5, tzinfo=UTC)
    assert silent_symbols(stored, answered, after_the_next_close) == set()


def test_who_was_not_asked_or_is_to_be_asked_anew_is_not_silent() -> None:
    stored = {"OTHER": LAST}
    assert silent_symbols(stored, {}, AFTER_LAST_CLOSE) == set()
    anew = {"GONE": Answered(None, AFTER_LAST_CLOSE)}
    assert silent_symbols(stored, anew, AFTER_LAST_CLOSE) == set()


def test_nothing_before_what_is_kept_is_asked_for() -> None:
    asset = Asset("AAPL", prices_kept_from=date(2022, 12, 22))
    (new,) = due_symbols([asset], {}, AFTER_LAST_CLOSE)
    (stale,) = due_symbols([asset], {"AAPL": date(2022, 12, 23)}, AFTER_LAST_CLOSE)
    assert new.start == stale.start == date(2022, 12, 22)
    assert due_symbols([Asset("A", prices_kept_from=date(2023, 1, 1))], {}, AFTER_LAST_CLOSE) == []


def test_a_restated_symbol_is_fetched_whole() -> None:
    (due,) = due_symbols([Asset("AAPL")], {"AAPL": date(2022, 12, 27)}, AFTER_LAST_CLOSE)
    again = due.refetch(kept_from=date(2000, 1, 1))
    assert (again.start, again.whole, again.pages) == (date(2000, 1, 1), True, 2)
    assert due.refetch(kept_from=None).pages == 3


def test_a_call_names_120_symbols_of_one_exchange_and_window() -> None:
    new = some(300) + some(1, exchange="NASDAQ") + some(1, start=date(2022, 12, 1))
    sizes = [(len(b.due), b.exchange, b.start) for b in batches(new, 10_000)]
    assert sizes == [
        (120, "NYSE", LAST),
        (120, "NYSE", LAST),
        (60, "NYSE", LAST),
        (1, "NASDAQ", LAST),
        (1, "NYSE", date(2022, 12, 1)),
    ]


def test_a_call_for_long_histories_names_fewer_symbols() -> None:
    # 100,000 bars a call, 5,000 a symbol: what is in memory does not grow with the universe.
    whole = some(50, pages=3, start=date(1970, 1, 1))
    assert [len(batch.due) for batch in batches(whole, 610)] == [20, 20, 10]


def test_a_minute_of_eight_credits_is_spent_on_the_most_stale() -> None:
    due = [*some(5), *some(20, exchange="NASDAQ")]
    found = [(batch.exchange, batch.credits) for batch in batches(due, 8)]
    assert found == [("NYSE", 5), ("NASDAQ", 3), ("NASDAQ", 8), ("NASDAQ", 8), ("NASDAQ", 1)]


def test_a_symbol_dearer_than_a_minute_still_gets_a_batch_of_its_own() -> None:
    assert [batch.credits for batch in batches(some(2, pages=3), 2)] == [3, 3]


def test_a_batch_gives_up_what_the_credits_do_not_pay_for() -> None:
    batch = Batch(tuple(some(4, pages=3)))
    now, later = batch.split(10)
    assert now is not None
    assert later is not None
    assert (now.symbols, later.symbols) == (("S0000", "S0001", "S0002"), ("S0003",))
    assert batch.split(0) == (None, batch)
    # Dearer than a minute of the plan: it begins with what there is.
    assert batch.split(2) == (Batch(batch.due[:1]), Batch(batch.due[1:]))
    assert batch.split(12) == (batch, None)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["NYSE", "NASDAQ"]),
            st.sampled_from([date(1970, 1, 1), LAST, date(2022, 12, 1)]),
            st.integers(1, 3),
        ),
        max_size=200,
    ),
    st.integers(3, 700),
)
def test_every_symbol_is_in_one_batch_that_fits_a_minute(
    kinds: list[tuple[str, date, int]], per_minute: int
) -> None:
    due = [
        Due(f"S{n}", exchange, "USD", None, start, LAST, whole=True, pages=pages)
        for n, (exchange, start, pages) in enumerate(kinds)
    ]
    made = list(batches(due, per_minute))

    assert sorted(one.symbol for b in made for one in b.due) == sorted(one.symbol for one in due)
    for batch in made:
        assert batch.credits <= per_minute
        assert len(batch.due) <= 120
        assert len({(one.exchange, one.start, one.pages) for one in batch.due}) == 1
