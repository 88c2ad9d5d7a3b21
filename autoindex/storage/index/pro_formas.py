"""Pro-formas: what the next rebalance of each index decides if no close changes until then."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from sqlalchemy import Connection, delete, text

from autoindex.index.pro_forma import ProForma
from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.index import index_history
from autoindex.storage.index.index_history import Window
from autoindex.storage.tables import pro_formas

_STORE: Final = text("""
    insert into pro_formas as p values (
        :strategy, :frequency, :decided_with, :next_rebalance, :turnover,
        :asset_ids, :weights, :current_weights
    )
    on conflict (strategy, frequency) do update set
        decided_with = excluded.decided_with, next_rebalance = excluded.next_rebalance,
        turnover = excluded.turnover, asset_ids = excluded.asset_ids,
        weights = excluded.weights, current_weights = excluded.current_weights
    where p is distinct from excluded
""")


def store(
    connection: Connection,
    strategy: Strategy,
    frequency: Frequency,
    found: ProForma | None,
    ids: Mapping[str, int],
) -> None:
    """Replace the stored pro-forma; raises the version where it differs."""
    which: dict[str, Any] = {"strategy": strategy, "frequency": frequency}
    if found is None:
        table = pro_formas.c
        done = connection.execute(
            delete(pro_formas).where(table.strategy == strategy, table.frequency == frequency)
        )
    else:
        done = connection.execute(_STORE, which | _columns(found, ids))
    if done.rowcount:
        versions.bump(connection, versions.INDEX)


def _columns(found: ProForma, ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        "decided_with": found.decided_with,
        "next_rebalance": found.next_rebalance,
        "turnover": found.turnover,
        "asset_ids": [ids[symbol] for symbol in found.weights.index],
        "weights": found.weights.tolist(),
        "current_weights": found.current_weights.tolist(),
    }


def load(connection: Connection, strategy: Strategy, frequency: Frequency) -> ProForma | None:
    """The stored pro-forma; None where there is none."""
    found = index_history.pro_forma(connection, Window(strategy, frequency))
    if not found.rows:
        return None
    symbols, weights, current, _ = zip(*found.rows, strict=True)
    about = found.about
    return ProForma(
        about["decided_with"],
        about["next_rebalance"],
        pd.Series(weights, symbols, np.float64),
        pd.Series(current, symbols, np.float64),
    )
