"""The stored measures of the index, beside those of the benchmark over the same windows."""

import re
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from autoindex.index.metrics import own
from autoindex.reports.content import Metric, Number
from autoindex.reports.history import History, number

_SPAN: Final = re.compile(r"([0-9]+)([MY])")
_WHOLE: Final = "all"
_YEAR_TO_DATE: Final = "YTD"


def beside_benchmark(
    stored: Mapping[str, Mapping[str, float | None]], history: History
) -> tuple[Metric, ...]:
    """Every stored measure; the benchmark's is None where it has none or is not measured."""
    rows = []
    for window, values in stored.items():
        theirs = _of_benchmark(history, window)
        for metric, value in values.items():
            ours = None if value is None else number(value)
            rows.append(
                Metric(window=window, metric=metric, index=ours, benchmark=theirs.get(metric))
            )
    return tuple(rows)


def _of_benchmark(history: History, window: str) -> dict[str, Number]:
    start = window_start(window, history.sessions)
    if start is None or np.isnan(history.benchmark[start:]).any():
        return {}
    return own(pd.Series(history.benchmark[start:]))


def window_start(window: str, sessions: pd.DatetimeIndex) -> int | None:
    """Position of the session whose close a window of the metrics starts from.

    `all`, `YTD`, or a number of months or years such as `3M` and `5Y`; None where that is further
    back than the sessions go, or is no such window.
    """
    if window == _WHOLE:
        return 0
    last = sessions[-1]
    span = _SPAN.fullmatch(window)
    if span:
        months = int(span[1]) * (12 if span[2] == "Y" else 1)
        day = last - pd.DateOffset(months=months)
    elif window == _YEAR_TO_DATE:
        day = pd.Timestamp(last.year - 1, 12, 31)
    else:
        return None
    before = int(sessions.searchsorted(day, side="right")) - 1
    return before if before >= 0 else None
