"""Pro-formas: what the next rebalance of each index decides if no close changes until then."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from sqlalchemy import Connection, delete, select, text

from autoindex.index.pro_forma import ProForma
from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.index import publications
from autoindex.storage.index.index_history import Rows, Window
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
_PAGE: Final = text("""
    select a.symbol, row.weight, row.current_weight, row.weight - row.current_weight
    from pro_formas p
    cross join unnest(p.asset_ids, p.weights, p.current_weights)
        as row (asset_id, weight, current_weight)
    join assets a on a.id = row.asset_id
    where p.strategy = :strategy and p.frequency = :frequency
    order by a.symbol limit :limit offset :offset
""")
_ABOUT: Final = ("decided_with", "next_rebalance", "turnover")


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
    which = {"strategy": strategy, "frequency": frequency}
    table = pro_formas.c
    query = select(table.decided_with, table.next_rebalance).filter_by(**which)
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    rows = connection.execute(_PAGE, which | {"limit": None, "offset": 0}).all()
    weights = pd.DataFrame(
        [tuple(row)[1:3] for row in rows], [row.symbol for row in rows], dtype=np.float64
    )
    return ProForma(found.decided_with, found.next_rebalance, weights[0], weights[1])


def page(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of symbol, weight, current weight and trade, by symbol."""
    table = pro_formas.c
    columns = [table[name] for name in (*_ABOUT, "asset_ids")]
    query = select(*columns).where(
        table.strategy == window.strategy, table.frequency == window.frequency
    )
    found = connection.execute(query).one_or_none()
    launch = publications.launch(connection, window.strategy, window.frequency)
    launched_at = launch.at if launch else None
    if found is None:
        return Rows([], 0, launched_at, dict.fromkeys(_ABOUT))
    which = {"strategy": window.strategy, "frequency": window.frequency}
    rows = connection.execute(_PAGE, which | {"limit": limit, "offset": offset})
    about = dict(zip(_ABOUT, found, strict=False))
    return Rows([tuple(row) for row in rows], len(found.asset_ids), launched_at, about)
