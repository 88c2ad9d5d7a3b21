"""What is late and what was filled is said."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from autoindex import sessions
from autoindex.reports.figures import quality

SESSIONS = pd.DatetimeIndex(["2022-12-21", "2022-12-22", "2022-12-23", "2022-12-27", "2022-12-28"])
NOW = datetime(2022, 12, 28, 22, 0, tzinfo=UTC)


def test_complete_data_need_no_note() -> None:
    closes = pd.DataFrame({"AAPL": [1.0, 2, 3, 4, 5], "LATE": [np.nan, np.nan, 3, 4, 5]}, SESSIONS)
    assert quality.notes(closes, list(closes), NOW) == ()


def test_late_missing_and_filled_prices_are_named() -> None:
    closes = pd.DataFrame(
        {
            "KO": [1.0, 2, 3, np.nan, np.nan],
            "GE": [1.0, np.nan, 3, 4, 5],
            "XOM": [np.nan] * 5,
        },
        SESSIONS,
    )
    late, absent, filled = quality.notes(closes, list(closes), NOW)
    assert late.startswith("KO: the newest price is of 2022-12-23; 2022-12-28 was due")
    assert absent == "XOM has no bar from 2022-12-21 on."
    assert filled.startswith("GE: 1 missing bars")


def test_an_inactive_stock_is_never_late_but_its_gaps_are_named() -> None:
    closes = pd.DataFrame(
        {"KO": [1.0, np.nan, 3, np.nan, np.nan], "GE": [np.nan] * 5, "XOM": [1.0, 2, 3, 4, np.nan]},
        SESSIONS,
    )
    late, filled = quality.notes(closes, ["XOM"], NOW)
    assert late.startswith("XOM: the newest price is of 2022-12-27; 2022-12-28 was due")
    assert filled.startswith("KO: 1 missing bars")


def test_a_stock_whose_bars_have_ended_was_not_deferred() -> None:
    """Five sessions without a bar may be a late price; more are a delisting."""
    index = sessions.between(date(2022, 12, 1), date(2022, 12, 28))
    closes = pd.DataFrame({"KO": 1.0, "GE": 2.0, "XOM": 3.0}, index)
    closes.loc["2022-12-21":, "KO"] = np.nan
    closes.loc["2022-12-20":, "GE"] = np.nan
    late, ended = quality.notes(closes, ["GE", "KO"], NOW)
    assert late.startswith("KO: the newest price is of 2022-12-20; 2022-12-28 was due")
    assert ended == "GE has no bar since 2022-12-19."


def test_a_universe_that_has_ended_is_named_within_bounds() -> None:
    index = sessions.between(date(2022, 12, 1), date(2022, 12, 28))
    names = [f"S{n:03d}" for n in range(500)]
    closes = pd.DataFrame(1.0, index, names)
    closes.iloc[3:] = np.nan
    notes = quality.notes(closes, names, NOW)
    assert notes[0] == "S000 has no bar since 2022-12-05."
    assert notes[10:] == ("490 more symbols have no newer bars.",)
