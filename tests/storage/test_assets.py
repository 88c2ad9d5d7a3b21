"""The universe: read from a file whole or not at all, imported by symbol."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from autoindex.errors import InvalidRequest, UnknownSymbols
from autoindex.storage import assets

HEAD = "symbol,exchange,currency,name,sector,shares_outstanding,shares_outstanding_date,role,active"
GE = "GE,NYSE,USD,General Electric,Industrials,1089000000,2022-12-31,constituent,true"
KO = "KO,NYSE,USD,Coca-Cola,,,,,"


def written(folder: Path, *lines: str) -> Path:
    file = folder / "stocks.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["# not a universe"], "stocks.csv: the first line must name the columns; it lacks symbol"),
        (["symbol,exchange,name", "GE,NYSE,GE"], "it lacks currency"),
        ([HEAD], "stocks.csv: has no rows"),
        ([HEAD, GE, "ge,NYSE,USD,GE,,,,,"], "line 3, column symbol: "),
        ([HEAD, GE, "KO,NYSE,USD,Coca-Cola,,-1,,,"], "line 3, column shares_outstanding: "),
        ([HEAD, "KO,NYSE,USD,Coca-Cola,,9,,,"], "line 2, column shares_outstanding_date: is empty"),
        ([HEAD, GE, f"{KO},more"], "line 3: has more values than there are columns"),
        ([HEAD, GE, GE], "symbol: GE stands twice"),
        ([HEAD, GE, f"KO,NYSE,USD,{'W' * 201},,,,,"], "line 3, column name: String should have at"),
        ([HEAD, f"KO,NYSE,USD,KO,{'W' * 81},,,,"], "line 2, column sector: String should have at"),
        ([HEAD, "KO,NYSE,USD,Co\x07ca,,,,,"], r"line 2, column name: String should have printable"),
        ([HEAD, "KO,NYSE,USD,KO,\u202eFood,,,,"], r"characters only, not '\u202e'"),
    ],
)
def test_a_wrong_file_is_refused_by_line_and_column(
    tmp_path: Path, lines: list[str], reason: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        assets.read_universe(written(tmp_path, *lines))
    assert reason in str(refused.value)


def test_rows_are_imported_by_symbol_and_left_out_only_when_told(
    tmp_path: Path, engine: Engine
) -> None:
    rows = assets.read_universe(written(tmp_path, HEAD, GE, KO))
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


def test_a_universe_of_any_size_is_imported_at_once(engine: Engine) -> None:
    """More values than one statement of PostgreSQL's protocol may have."""
    rows = [
        assets.UniverseRow(symbol=f"S{n:05d}", exchange="NYSE", currency="USD", name="Sample")
        for n in range(8_000)
    ]
    with engine.begin() as connection:
        assert assets.import_universe(connection, rows) == assets.Imported(8_000, 0, 0)
