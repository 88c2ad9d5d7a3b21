"""The pro-forma is the decision of the next rebalance, as long as no close changes until then."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autoindex import sessions
from autoindex.index.compute import IndexSeries
from autoindex.index.membership import Membership
from autoindex.index.pro_forma import ProForma, pro_forma
from autoindex.index.shares import ShareCount
from autoindex.requests import Frequency, Strategy
from tests.index.markets import closes_of, counts_of, random_closes, run, shares_of, spoilt

LENGTH = 140
FEWEST = 75
seeds = st.integers(0, 2**32 - 1)


def standing(closes: pd.DataFrame, until: date) -> pd.DataFrame:
    """The closes, and the last ones on each session to a day; a delisted stock has none."""
    days = sessions.between(closes.index[-1].date() + timedelta(days=1), until)
    last = {
        symbol: known.iloc[-1]
        for symbol in closes
        if len(known := closes[symbol].iloc[-6:].dropna())
    }
    later = pd.DataFrame({symbol: last.get(symbol, np.nan) for symbol in closes}, days)
    return pd.concat([closes, later])


def asked(series: IndexSeries, closes: pd.DataFrame, **more: object) -> ProForma:
    found = pro_forma(closes, series.current_weights, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


@given(
    st.sampled_from(Strategy),
    st.sampled_from(Frequency),
    seeds,
    st.integers(1, 8),
    st.integers(FEWEST, LENGTH),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_with_unchanged_prices_the_later_decision_is_identical(
    strategy: Strategy, frequency: Frequency, seed: int, symbols: int, known: int, hard: bool
) -> None:
    closes = random_closes(seed, symbols)
    closes = (spoilt(closes, seed) if hard else closes).iloc[:known]
    day = sessions.next_rebalance(closes.index[-1].date(), frequency)
    assert day is not None
    dated = {"members": members_of(closes, seed, day), "shares": shares_until(closes, day)}
    series = run(closes, strategy, frequency, **dated)
    assume(len(series.levels))

    found = asked(series, closes, strategy=strategy, frequency=frequency, **dated)

    whole = run(standing(closes, day), strategy, frequency, **dated)
    decisions = whole.weights.loc[closes.index[-1] + pd.Timedelta(days=1) :]
    assert (found.decided_with, found.next_rebalance) == (closes.index[-1].date(), day)
    if len(decisions):
        assert list(decisions.index) == [pd.Timestamp(day)]
        expected = decisions.iloc[0].reindex(found.weights.index)
        assert (found.weights == expected).all()
        assert found.weights.sum() == pytest.approx(1, rel=1e-12)
    else:
        assert found.weights.equals(found.current_weights)
        assert found.turnover == 0


def members_of(closes: pd.DataFrame, seed: int, day: date) -> list[Membership]:
    """All are members but one or two, which leave before the rebalance or join with it."""
    random = np.random.default_rng(seed)
    leaves, joins = random.integers(closes.shape[1], size=2)
    last = closes.index[-1].date()
    made = {symbol: Membership(symbol) for symbol in closes}
    made[closes.columns[leaves]] = Membership(closes.columns[leaves], last=last)
    made[closes.columns[joins]] = Membership(closes.columns[joins], first=day)
    return list(made.values())


def shares_until(closes: pd.DataFrame, day: date) -> list[ShareCount]:
    """One count for each, and for the first another one from the rebalance on."""
    return [*counts_of(shares_of(closes)), ShareCount(closes.columns[0], 3e8, day)]


@given(st.sampled_from(Strategy), st.sampled_from(Frequency), seeds, st.integers(FEWEST, LENGTH))
@settings(max_examples=60, deadline=None)
def test_current_weights_are_the_holdings_at_the_last_close(
    strategy: Strategy, frequency: Frequency, seed: int, known: int
) -> None:
    closes = spoilt(random_closes(seed), seed).iloc[:known]
    series = run(closes, strategy, frequency)
    found = asked(
        series, closes, strategy=strategy, frequency=frequency, shares=counts_of(shares_of(closes))
    )
    worth = series.units.iloc[-1] * closes.ffill().iloc[-1].fillna(0)
    expected = (worth / series.levels.iloc[-1]).reindex(found.current_weights.index)
    np.testing.assert_allclose(found.current_weights, expected, rtol=1e-10)
    trades = found.weights - found.current_weights
    assert found.turnover == pytest.approx(trades[trades > 0].sum(), abs=1e-12)
    assert ((found.weights > 0) | (found.current_weights > 0)).all()


def test_trades_and_turnover_of_a_market_of_two() -> None:
    """Equal weights on 2 November; until the 25th one doubles, and the other one halves."""
    closes = closes_of(300, A=100.0, B=50.0)
    closes = closes.loc["2020-11-02":"2020-11-25"].copy()
    closes.iloc[-1] = [200.0, 25.0]
    series = run(closes, Strategy.EQUAL_WEIGHT, Frequency.MONTHLY)
    found = asked(series, closes, strategy=Strategy.EQUAL_WEIGHT, frequency=Frequency.MONTHLY)
    assert (found.decided_with, found.next_rebalance) == (date(2020, 11, 25), date(2020, 12, 1))
    assert found.current_weights.to_dict() == pytest.approx({"A": 0.8, "B": 0.2})
    assert found.weights.to_dict() == {"A": 0.5, "B": 0.5}
    assert found.turnover == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("session", "daily", "weekly", "monthly", "quarterly"),
    [
        ("2022-12-28", "2022-12-29", "2023-01-03", "2023-01-03", "2023-01-03"),
        ("2022-07-01", "2022-07-05", "2022-07-05", "2022-08-01", "2022-10-03"),
        ("2022-11-30", "2022-12-01", "2022-12-05", "2022-12-01", "2023-01-03"),
    ],
)
def test_the_next_rebalance_is_the_first_session_of_the_next_period(
    session: str, daily: str, weekly: str, monthly: str, quarterly: str
) -> None:
    day = date.fromisoformat(session)
    found = [str(sessions.next_rebalance(day, frequency)) for frequency in Frequency]
    assert found == [daily, weekly, monthly, quarterly]
