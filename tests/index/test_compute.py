"""Levels, rebalances and chain-linking; three assets over ten days by hand."""

from datetime import date

import bt
import numpy as np
import pandas as pd
import pytest

from autoindex.errors import IndexImpossible
from autoindex.index.compute import Base, compute, lookback_sessions
from autoindex.index.membership import Membership
from autoindex.requests import Frequency, Strategy
from tests.index.markets import closes_of, random_closes, run, shares_of

# Monday 7 to Friday 18 March 2022: ten sessions, two weeks.
TEN_DAYS = pd.DataFrame(
    {
        "A": [10, 11, 11, 12, 12, 12, 12, 15, 15, 18],
        "B": [20, 20, 22, 22, 20, 20, 20, 20, 25, 25],
        "C": [50, 50, 50, 45, 50, 40, 40, 40, 40, 36],
    },
    pd.DatetimeIndex([f"2022-03-{day:02d}" for day in (7, 8, 9, 10, 11, 14, 15, 16, 17, 18)]),
)


def test_equal_weight_by_hand() -> None:
    """Week 1: 100 buys a third each: 10/3 of A at 10, 5/3 of B at 20, 2/3 of C at 50.

        Tue  11·10/3 + 20·5/3 + 50·2/3 = (110 + 100 + 100)/3 = 310/3
        Wed  (110 + 110 + 100)/3 = 320/3
        Thu  (120 + 110 +  90)/3 = 320/3
        Fri  (120 + 100 + 100)/3 = 320/3
        Mon  (120 + 100 +  80)/3 = 100: the old holdings bear Monday's fall of C

    Week 2, decided at Monday's close: 100 buys 25/9 of A at 12, 5/3 of B at 20, 5/6 of C at 40.

        Tue  100, nothing has moved
        Wed  15·25/9 + 100/3 + 100/3 = (125 + 100 + 100)/3 = 325/3
        Thu  (125 + 125 + 100)/3 = 350/3
        Fri  18·25/9 + 125/3 + 36·5/6 = (150 + 125 + 90)/3 = 365/3
    """
    series = compute(TEN_DAYS, strategy=Strategy.EQUAL_WEIGHT, frequency=Frequency.WEEKLY)
    expected = [300, 310, 320, 320, 320, 300, 300, 325, 350, 365]
    np.testing.assert_allclose(series.levels, np.array(expected) / 3, rtol=1e-14)
    assert list(series.weights.index) == [TEN_DAYS.index[0], TEN_DAYS.index[5]]
    np.testing.assert_allclose(series.weights, 1 / 3, rtol=1e-14)
    np.testing.assert_allclose(
        series.units, [[10 / 3, 5 / 3, 2 / 3], [25 / 9, 5 / 3, 5 / 6]], rtol=1e-14
    )


def test_market_capitalisation_by_hand() -> None:
    """Shares 100, 50 and 20: on the first Monday each is worth 1,000, a third of the whole.

    On the second Monday 12·100 = 1,200, 20·50 = 1,000 and 40·20 = 800 of 3,000: 0.4 (at the cap,
    not over it), 1/3 and 4/15, which is what is held already. The last level is therefore the
    change of the whole market: (18·100 + 25·50 + 36·20) / 3,000 = 3,770/3,000, or 377/3.
    """
    shares = pd.Series({"A": 100, "B": 50, "C": 20})
    series = run(TEN_DAYS, Strategy.MARKET_CAP, Frequency.WEEKLY, shares=shares)
    np.testing.assert_allclose(series.weights.iloc[1], [0.4, 1 / 3, 4 / 15], rtol=1e-14)
    np.testing.assert_allclose(series.levels.iloc[-1], 377 / 3, rtol=1e-14)


def test_the_cap_by_hand() -> None:
    """Shares 300, 50 and 20: 3,000, 1,000 and 1,000 of 5,000, so A's 0.6 is cut to 0.4 and its
    0.2 goes to the others in equal parts. 40/10 = 4 of A, 30/20 = 1.5 of B, 30/50 = 0.6 of C; on
    Tuesday 4·11 + 30 + 30 = 104.
    """
    shares = pd.Series({"A": 300, "B": 50, "C": 20})
    series = run(TEN_DAYS, Strategy.MARKET_CAP, Frequency.WEEKLY, shares=shares)
    np.testing.assert_allclose(series.weights.iloc[0], [0.4, 0.3, 0.3], rtol=1e-14)
    np.testing.assert_allclose(series.units.iloc[0], [4, 1.5, 0.6], rtol=1e-14)
    np.testing.assert_allclose(series.levels.iloc[1], 104, rtol=1e-14)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_bt_gives_the_same_levels(closes: pd.DataFrame) -> None:
    window = closes["2020-01-02":"2022-12-28"]
    ours = compute(window, strategy=Strategy.EQUAL_WEIGHT, frequency=Frequency.MONTHLY)
    steps = [bt.algos.RunMonthly(), bt.algos.SelectAll(), bt.algos.WeighEqually()]
    plain = bt.Strategy("equal", [*steps, bt.algos.Rebalance()])
    test = bt.Backtest(plain, window, integer_positions=False, progress_bar=False)
    theirs = bt.run(test).prices["equal"].loc[window.index]
    np.testing.assert_allclose(ours.levels, theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("frequency", "rebalances"),
    [
        # The start, then: Monday 4 July was a holiday, so was Labor Day, Monday 5 September.
        (Frequency.WEEKLY, ["06-01", "06-06", "06-13", "06-21", "06-27", "07-05", "07-11"]),
        (Frequency.MONTHLY, ["06-01", "07-01", "08-01", "09-01"]),
        (Frequency.QUARTERLY, ["06-01", "07-01"]),
    ],
)
def test_rebalances_follow_the_exchanges_calendar(
    closes: pd.DataFrame, frequency: Frequency, rebalances: list[str]
) -> None:
    window = closes["2022-06-01":"2022-09-15"]
    weights = compute(window, strategy=Strategy.EQUAL_WEIGHT, frequency=frequency).weights
    found = [f"{session:%m-%d}" for session in weights.index]
    assert found[: len(rebalances)] == rebalances
    assert frequency is Frequency.WEEKLY or found == rebalances


def test_daily_is_every_session(closes: pd.DataFrame) -> None:
    window = closes["2022-06-01":"2022-09-15"]
    weights = compute(window, strategy=Strategy.EQUAL_WEIGHT, frequency=Frequency.DAILY).weights
    assert weights.index.equals(window.index)


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("day", [75, 100, 138])
def test_an_index_goes_on_after_old_prices_were_removed(strategy: Strategy, day: int) -> None:
    closes = random_closes(9)
    whole = run(closes, strategy, Frequency.WEEKLY)
    session = closes.index[day]
    units = whole.units[:session].iloc[-1]
    base = Base(session, whole.levels[session], units[units > 0])
    kept = closes.iloc[day + 1 - lookback_sessions(strategy) :]
    new = run(kept, strategy, Frequency.WEEKLY, base=base)
    expected = whole.levels.iloc[whole.levels.index > session]
    pd.testing.assert_series_equal(new.levels, expected, rtol=1e-13)
    after = whole.weights.index > session
    pd.testing.assert_frame_equal(new.weights, whole.weights[after], rtol=1e-12)
    pd.testing.assert_frame_equal(new.units, whole.units[after], rtol=1e-12)


def test_the_stored_level_counts_whatever_the_closes_say() -> None:
    """A provider has restated a history: the level goes on by returns, it does not jump."""
    closes = closes_of(10, A=np.arange(10.0, 20), B=np.arange(30.0, 20, -1))
    base = Base(closes.index[4], 250.0, pd.Series({"A": 3.0, "B": 1.0}))
    new = run(closes, Strategy.EQUAL_WEIGHT, Frequency.QUARTERLY, base=base)
    # 3 × 14 + 26 = 68 became 3 × 15 + 25 = 70.
    np.testing.assert_allclose(new.levels.iloc[0], 250 * 70 / 68, rtol=1e-14)
    assert new.weights.empty


def test_a_base_at_the_last_session_leaves_nothing_to_compute() -> None:
    closes = random_closes(10)
    base = Base(closes.index[-1], 123.0, pd.Series({"S00": 1.0}))
    new = run(closes, Strategy.EQUAL_WEIGHT, Frequency.DAILY, base=base)
    assert new.levels.empty
    assert new.weights.empty


def test_what_cannot_be_gone_on_from_is_named() -> None:
    closes = closes_of(10, A=np.r_[[np.nan] * 5, np.arange(5.0)] + 1, B=2.0)
    at = closes.index[2]
    with pytest.raises(IndexImpossible, match=r"2019-11-06 cannot be valued: no close of A"):
        run(
            closes,
            Strategy.EQUAL_WEIGHT,
            Frequency.DAILY,
            base=Base(at, 100.0, pd.Series({"A": 1.0})),
        )
    with pytest.raises(ValueError, match="lack holdings: XOM"):
        run(
            closes,
            Strategy.EQUAL_WEIGHT,
            Frequency.DAILY,
            base=Base(at, 100.0, pd.Series({"XOM": 1.0})),
        )
    base = Base(pd.Timestamp(date(2010, 1, 4)), 100.0, pd.Series({"A": 1.0}))
    with pytest.raises(ValueError, match="base session 2010-01-04"):
        run(closes, Strategy.EQUAL_WEIGHT, Frequency.DAILY, base=base)


def test_what_is_no_longer_eligible_is_held_to_the_next_rebalance() -> None:
    closes = closes_of(10, A=np.arange(10.0, 20), B=20.0)
    base = Base(closes.index[1], 100.0, pd.Series({"A": 100 / 11}))
    members = [Membership("A", last=base.session.date()), Membership("B")]
    new = run(closes, Strategy.EQUAL_WEIGHT, Frequency.WEEKLY, base=base, members=members)
    np.testing.assert_allclose(new.levels.iloc[:4], 100 * np.arange(12, 16) / 11, rtol=1e-14)
    assert new.levels.iloc[4:].nunique() == 1
    assert new.weights.iloc[0].to_dict() == {"A": 0, "B": 1}


def test_holdings_are_kept_where_nothing_can_be_weighted() -> None:
    closes = closes_of(30, A=np.arange(10.0, 40), B=20.0)
    base = Base(closes.index[2], 100.0, pd.Series({"A": 100 / 12}))
    new = run(closes, Strategy.MOMENTUM, Frequency.WEEKLY, base=base)
    assert new.notes[0] == "2019-11-11: no active symbol has a full lookback; the holdings are kept"
    # The fourth Monday after the start is the first with 21 sessions behind it.
    assert f"{new.weights.index[0]:%Y-%m-%d}" == "2019-12-09"


@pytest.mark.parametrize(
    "closes", [closes_of(60, A=1.0), closes_of(100, A=np.nan), closes_of(0), closes_of(9)]
)
def test_too_few_closes_give_an_empty_index(closes: pd.DataFrame) -> None:
    series = run(closes, Strategy.COMPOSITE, Frequency.DAILY)
    assert series.levels.empty
    assert series.weights.shape == (0, closes.shape[1])


def test_shares_are_needed_where_they_weight() -> None:
    closes = random_closes(11)
    for strategy in (Strategy.MARKET_CAP, Strategy.COMPOSITE):
        with pytest.raises(IndexImpossible, match="add them to the universe's CSV file"):
            compute(closes, strategy=strategy, frequency=Frequency.DAILY)
    known = shares_of(closes)[:2]
    some = run(closes, Strategy.MARKET_CAP, Frequency.DAILY, shares=known)
    assert set(some.weights.columns[(some.weights > 0).any()]) == {"S00", "S01"}


BY_SHARES = pytest.mark.parametrize("strategy", [Strategy.MARKET_CAP, Strategy.COMPOSITE])


@BY_SHARES
def test_holdings_are_kept_where_only_stocks_without_shares_can_be_weighted(
    strategy: Strategy,
) -> None:
    """B alone has shares. It has no bar from 24 February on, and A has no shares."""
    closes = random_closes(12, symbols=2).set_axis(["A", "B"], axis=1)
    closes.loc["2020-02-24":"2020-03-20", "B"] = np.nan
    shares = pd.Series({"B": 1e6})
    new = run(closes, strategy, Frequency.WEEKLY, shares=shares)
    reason = "no symbol with a full lookback has shares outstanding; the holdings are kept"
    # The sixth session without a bar is 2 March.
    kept = [f"{day}: {reason}" for day in ("2020-03-02", "2020-03-09", "2020-03-16")]
    assert list(new.notes[:3]) == kept
    assert f"{new.weights[:'2020-03-20'].index[-1]:%Y-%m-%d}" == "2020-02-24"
    held = new.units[:"2020-02-24"].iloc[-1]
    worth = (closes.ffill() @ held)["2020-02-24":"2020-03-20"]
    np.testing.assert_allclose(new.levels[worth.index], worth, rtol=1e-12)


@BY_SHARES
def test_the_index_starts_where_a_stock_with_shares_can_be_weighted(strategy: Strategy) -> None:
    closes = random_closes(13, symbols=2).set_axis(["A", "B"], axis=1)
    closes.iloc[:50, 1] = np.nan
    new = run(closes, strategy, Frequency.MONTHLY, shares=pd.Series({"B": 1e6}))
    first = closes.index[50 + lookback_sessions(strategy) - 1]
    assert new.levels.index[0] == new.weights.index[0] == first
    assert new.levels.iloc[0] == 100
    assert new.weights.loc[first, "B"] > 0


@BY_SHARES
def test_a_stored_index_keeps_its_holdings_without_any_shares(strategy: Strategy) -> None:
    closes = random_closes(14)
    base = Base(closes.index[70], 120.0, pd.Series({"S00": 1.0}))
    new = run(closes, strategy, Frequency.WEEKLY, shares=pd.Series(dtype=float), base=base)
    expected = 120 * closes["S00"].iloc[71:] / closes["S00"].iloc[70]
    np.testing.assert_allclose(new.levels, expected, rtol=1e-12)
    assert new.weights.empty
