"""Made-up markets in PostgreSQL."""

from collections.abc import Iterator

import numpy as np
from sqlalchemy import Engine

from autoindex.market_data.bars import Bars
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from benchmarks.panels import Panel
from benchmarks.upsert import settle

_SYMBOLS_A_LOAD = 100
BENCHMARK = "MARKET"


def store(engine: Engine, panel: Panel) -> dict[str, int]:
    """Store a panel's closes, shares and market; the assets' numbers by symbol."""
    ids = _universe(engine, panel)
    for some in loads(panel):
        with engine.begin() as connection:
            stored_prices.upsert(connection, some, ids)
    settle(engine)
    return ids


def _universe(engine: Engine, panel: Panel) -> dict[str, int]:
    known = {"exchange": "NYSE", "currency": "USD"}
    rows = [
        UniverseRow(symbol=symbol, name=symbol, shares_outstanding=round(count), **known)
        for symbol, count in panel.shares.items()
    ]
    rows.append(UniverseRow(symbol=BENCHMARK, name=BENCHMARK, role="benchmark", **known))
    with engine.begin() as connection:
        import_universe(connection, rows)
        return {asset.symbol: asset.id for asset in assets.list_assets(connection)}


def loads(panel: Panel) -> Iterator[list[Bars]]:
    """A panel as bars, some symbols at a time, the market last."""
    days = panel.closes.index.to_numpy().astype("datetime64[D]")

    def bars(symbol: str, close: np.ndarray) -> Bars:
        known = np.isfinite(close)
        kept = np.ascontiguousarray(close[known])
        volume = np.full(len(kept), 1_000_000, np.int64)
        return Bars(symbol, days[known], kept, kept * 1.01, kept * 0.99, kept, volume)

    closes, symbols = panel.closes.to_numpy(), list(panel.closes.columns)
    for start in range(0, len(symbols), _SYMBOLS_A_LOAD):
        columns = range(start, min(start + _SYMBOLS_A_LOAD, len(symbols)))
        yield [bars(symbols[column], closes[:, column]) for column in columns]
    yield [bars(BENCHMARK, panel.market.to_numpy())]
