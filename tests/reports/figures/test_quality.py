"""What is late and what was filled is said."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

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
    assert absent == "XOM: no price is stored."
    assert filled.startswith("GE: 1 missing bars")


def test_an_inactive_stock_is_never_late_but_its_gaps_are_named() -> None:
    closes = pd.DataFrame(
        {"KO": [1.0, np.nan, 3, np.nan, np.nan], "GE": [np.nan] * 5, "XOM": [1.0, 2, 3, 4, np.nan]},
        SESSIONS,
    )
    late, filled = quality.notes(closes, ["XOM"], NOW)
    assert late.startswith("XOM: the newest price is of 2022-12-27; 2022-12-28 was due")
    assert filled.startswith("KO: 1 missing bars")
