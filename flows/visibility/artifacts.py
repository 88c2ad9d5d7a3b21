"""What a run shows on its page in the Prefect UI, as tables."""

from collections.abc import Mapping
from typing import Final

import pandas as pd
from prefect.artifacts import create_table_artifact

from autoindex.masking import masked
from autoindex.reports import wording

_MOST_ROWS: Final = 200


def omitted_symbols(refused: Mapping[str, str], deferred: Mapping[str, str]) -> None:
    """The symbols that a refresh has not updated, and why; no table if there are none."""
    kinds = (("refused", refused), ("deferred", deferred))
    rows = [
        {"symbol": symbol, "what": what, "reason": masked(reason)}
        for what, symbols in kinds
        for symbol, reason in sorted(symbols.items())
    ]
    if rows:
        text = f"{len(refused)} symbols refused, {len(deferred)} deferred to the next run"
        create_table_artifact(rows[:_MOST_ROWS], key="refresh-left-out", description=text)


def index(decided: pd.Series | None, metrics: Mapping[str, float | None]) -> None:
    """The weights of the newest rebalance, named by its session, and the index's metrics."""
    measures = [
        {"measure": wording.metric_label(name), "value": wording.metric_value(name, value)}
        for name, value in metrics.items()
    ]
    text = f"Measures since inception. {wording.footnote(metrics.values())}".rstrip()
    create_table_artifact(measures, key="index-metrics", description=text)
    if decided is None:
        return
    newest = decided.sort_values(ascending=False)
    held = newest[newest > 0]
    rows = [{"symbol": symbol, "weight": f"{weight:.2%}"} for symbol, weight in held.items()]
    text = f"Weights decided at the close of {decided.name:%Y-%m-%d}"
    create_table_artifact(rows[:_MOST_ROWS], key="index-weights", description=text)
