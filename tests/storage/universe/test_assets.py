"""The universe: imported by symbol."""

from datetime import date

import pytest
from sqlalchemy import Engine

from autoindex.errors import ConfigurationError, UnknownSymbols
from autoindex.requests import RefreshRequest
from autoindex.storage.universe import assets, membership_changes, memberships
from autoindex.storage.universe.universe_import import Imported, import_universe
from autoindex.storage.universe.universe_row import UniverseRow

TODAY = date(2022, 12, 28)


def test_rows_are_imported_by_symbol_and_left_out_only_when_told(engine: Engine) -> None:
    rows = [
        UniverseRow(symbol="GE", exchange="NYSE", currency="USD", name="General Electric"),
        UniverseRow(symbol="KO", exchange="NYSE", currency="USD", name="Coca-Cola"),
    ]
    with engine.begin() as connection:
        assert import_universe(connection, rows) == Imported(2, 0, 0)
        assert import_universe(connection, rows) == Imported(0, 0, 2)
        renamed = rows[0].model_copy(update={"name": "GE Aerospace"})
        assert import_universe(connection, [renamed]) == Imported(0, 1, 0)
        assert membership_changes.deactivate(connection, ["KO"], "test") == 1
        assert [one.symbol for one in memberships.resolve(connection, TODAY)] == ["GE"]
        assert [one.name for one in assets.list_assets(connection)] == ["GE Aerospace", "Coca-Cola"]
        with pytest.raises(UnknownSymbols, match="KO"):
            memberships.resolve(connection, TODAY, ["GE", "KO"])


def test_a_symbol_may_begin_with_a_digit(engine: Engine) -> None:
    symbols = ["0700", "3IN", "7203.T"]
    rows = [
        UniverseRow(symbol=symbol, exchange="XTKS", currency="JPY", name="Sample")
        for symbol in symbols
    ]
    asked = RefreshRequest(symbols=symbols).symbols
    with engine.begin() as connection:
        import_universe(connection, rows)
        assert [one.symbol for one in memberships.resolve(connection, TODAY, asked)] == symbols


def test_a_universe_of_any_size_is_imported_at_once(engine: Engine) -> None:
    """More values than one statement of PostgreSQL's protocol may have."""
    rows = [
        UniverseRow(symbol=f"S{n:05d}", exchange="NYSE", currency="USD", name="Sample")
        for n in range(8_000)
    ]
    with engine.begin() as connection:
        assert import_universe(connection, rows) == Imported(8_000, 0, 0)


def test_there_is_one_active_benchmark_at_most(engine: Engine) -> None:
    known = {"exchange": "NYSE", "currency": "USD", "name": "Sample"}
    stock = UniverseRow(symbol="GE", **known)
    references = [
        UniverseRow(symbol=symbol, role="benchmark", **known) for symbol in ("SPY", "DIA")
    ]
    with engine.begin() as connection:
        import_universe(connection, [stock])
        assert memberships.benchmark(connection, TODAY) is None
        import_universe(connection, references)
        several = r"2 active benchmarks, DIA, SPY: .* `autoindex universe deactivate`"
        with pytest.raises(ConfigurationError, match=several):
            memberships.benchmark(connection, TODAY)
        membership_changes.deactivate(connection, ["DIA"], "test")
        found = memberships.benchmark(connection, TODAY)
        assert found is not None
        assert found.symbol == "SPY"
