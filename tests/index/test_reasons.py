"""What a result says of symbols without newer bars, and of an index without a level."""

import numpy as np
import pandas as pd
import pytest

from autoindex.index import reasons
from autoindex.index.compute import Base
from autoindex.index.membership import Membership
from autoindex.requests import Frequency, Strategy
from tests.index.markets import closes_of, run

NAN = float("nan")


def test_gaps_are_counted_and_symbols_that_ended_are_named() -> None:
    closes = closes_of(
        100, A=[1, NAN, NAN, *[4] * 97], B=[*[2] * 40, *[NAN] * 60], C=[3] * 100, D=[NAN] * 100
    )
    series = run(closes, Strategy.EQUAL_WEIGHT, Frequency.MONTHLY)
    assert series.notes == (
        "2 missing bars carried forward",
        f"B has no bar since {closes.index[39]:%Y-%m-%d}",
        "D has no bar from 2019-11-04 on",
    )


def test_at_most_ten_symbols_are_named() -> None:
    closes = closes_of(9)
    last = {f"S{n:04d}": n % 3 for n in range(1300)}
    said = reasons.ended(last, pd.DatetimeIndex(closes.index))
    assert said[0] == "S0002 has no bar since 2019-11-06"
    assert said[9] == "S0029 has no bar since 2019-11-06"
    assert said[10:] == ["1,290 more symbols have no newer bars"]
    assert reasons.ended({}, pd.DatetimeIndex([])) == []


@pytest.mark.parametrize(
    ("eligible", "reason"),
    [
        ([], "no constituent is active: import stocks into the universe, or activate some"),
        (["NONE"], "no active constituent has a bar from 2019-11-04 to 2020-03-13"),
        (
            ["GAPPY", "NONE"],
            "no active constituent has a full lookback: risk_parity takes 61 sessions without a "
            # 50 bars, and the first five sessions without one.
            "gap of more than 5, and the longest from 2019-11-04 to 2020-03-13 is 55",
        ),
    ],
)
def test_why_there_is_no_level(eligible: list[str], reason: str) -> None:
    closes = closes_of(
        90, GAPPY=[*[1.0] * 50, *[NAN] * 6, *[2.0] * 34], NONE=[NAN] * 90, WHOLE=np.arange(90.0) + 1
    )
    assert reasons.no_level(Strategy.RISK_PARITY, closes, eligible) == reason
    series = run(closes, Strategy.RISK_PARITY, Frequency.DAILY, members=map(Membership, eligible))
    assert series.levels.empty


def test_holdings_without_an_active_symbol_are_kept_for_that_reason() -> None:
    closes = closes_of(9, A=np.arange(1.0, 10))
    base = Base(closes.index[0], 100.0, pd.Series({"A": 1.0}))
    series = run(closes, Strategy.EQUAL_WEIGHT, Frequency.WEEKLY, base=base, members=[])
    assert series.notes == ("2019-11-11: no symbol is active; the holdings are kept",)
