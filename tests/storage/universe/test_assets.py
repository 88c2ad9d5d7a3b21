"""The universe: imported by symbol."""

import pytest
from sqlalchemy import Engine

from autoindex.errors import ConfigurationError, UnknownSymbols
from autoindex.requests import RefreshRequest
from autoindex.storage.universe import assets


def test_rows_are_imported_by_symbol_and_left_out_only_when_told(engine: Engine) -> None:
    rows = [
        assets.UniverseRow(symbol="GE", exchange="NYSE", currency="USD", name="General Electric"),
        assets.UniverseRow(symbol="KO", exchange="NYSE", currency="USD", name="Coca-Cola"),
    ]
    with engine.begin() as connection:
        assert assets.import_universe(connection, rows) == assets.Imported(2, 0, 0)
        assert assets.import_universe(connection, rows) == assets.Imported(0, 0, 2)
        renamed = rows[0].model_copy(update={"name": "GE Aerospace"})
        assert assets.import_universe(connection, [renamed]) == assets.Imported(0, 1, 0)
        assert assets.deactivate(connection, ["KO"]) == 1
        assert [one.symbol for one in assets.resolve(connection)] == ["GE"]
        assert [one.name for one in assets.list_assets(connection)] == ["GE Aerospace", "Coca-Cola"]
        with pytest.raises(UnknownSymbols, match="KO"):
            assets.resolve(connection, ["GE", "KO"])


def test_a_symbol_may_begin_with_a_digit(engine: Engine) -> None:
    symbols = ["0700", "3IN", "7203.T"]
    rows = [
        assets.UniverseRow(symbol=symbol, exchange="XTKS", currency="JPY", name="Sample")
        for symbol in symbols
    ]
    asked = RefreshRequest(symbols=symbols).symbols
    with engine.begin() as connection:
        assets.import_universe(connection, rows)
        assert [one.symbol for one in assets.resolve(connection, asked)] == symbols


def test_a_universe_of_any_size_is_imported_at_once(engine: Engine) -> None:
    """More values than one statement of PostgreSQL's protocol may have."""
    rows = [
        assets.UniverseRow(symbol=f"S{n:05d}", exchange="NYSE", currency="USD", name="Sample")
        for n in range(8_000)
    ]
    with engine.begin() as connection:
        assert assets.import_universe(connection, rows) == assets.Imported(8_000, 0, 0)


def test_there_is_one_active_benchmark_at_most(engine: Engine) -> None:
    known = {"exchange": "NYSE", "currency": "USD", "name": "Sample"}
    stock = assets.UniverseRow(symbol="GE", **known)
    references = [
        assets.UniverseRow(symbol=symbol, role="benchmark", **known) for symbol in ("SPY", "DIA")
    ]
    with engine.begin() as connection:
        assets.import_universe(connection, [stock])
        assert assets.benchmark(assets.list_assets(connection)) is None
        assets.import_universe(connection, references)
        several = r"2 active benchmarks, DIA, SPY: .* `autoindex universe deactivate`"
        with pytest.raises(ConfigurationError, match=several):
            assets.benchmark(assets.list_assets(connection))
        assets.deactivate(connection, ["DIA"])
        found = assets.benchmark(assets.list_assets(connection))
        assert found is not None
        assert found.symbol == "SPY"
