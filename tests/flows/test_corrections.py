"""Corrected closes through a whole refresh: real sandbox, database and Prefect server."""

# ruff: noqa: F811  fixtures that come from another folder are imported by name

from datetime import date

import numpy as np
import pytest
from sqlalchemy import text

from autoindex.storage.index import corrections
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from tests.flows.test_refresh_attempts import SYMBOLS, Desk, desk  # noqa: F401  fixture
from tests.market_data.conftest import sandbox, sandbox_url  # noqa: F401  fixtures

ROWS = [
    UniverseRow(
        symbol=symbol,
        exchange="NASDAQ",
        currency="USD",
        name=symbol,
        shares_outstanding=1_000_000,
        shares_outstanding_date=date(2022, 1, 3),
    )
    for symbol in SYMBOLS
]
WRONG = text("""
    update prices set close = close * :factor from assets
    where id = asset_id and symbol = 'AAPL' and session = '2022-12-22'
""")


def levels(desk: Desk) -> dict[str, float]:
    with desk.engine.connect() as connection:
        rows = connection.execute(text("select session::text, level from index_levels order by 1"))
        return dict(rows.tuples().all())


@pytest.mark.parametrize("factor", [1.0002, 1.0005, 1.02])
def test_a_corrected_close_is_stored_and_computed(desk: Desk, factor: float) -> None:
    desk.plan(per_minute=100)
    with desk.engine.begin() as connection:
        import_universe(connection, ROWS)
    desk.result(desk.ask(), mode="full")
    right = levels(desk)
    with desk.engine.begin() as connection:
        connection.execute(WRONG, {"factor": factor})
        connection.execute(text("delete from prices where session = '2022-12-28'"))
        (aapl,) = [one.id for one in assets.list_assets(connection) if one.symbol == "AAPL"]
        corrections.note(connection, {aapl: np.array(["2022-12-22"], "datetime64[D]")}, "a test")
    desk.result(desk.ask(), symbols=["AMD"])
    wrong = levels(desk)

    result = desk.result(desk.ask())

    assert (result["restated"], result["refused"]) == ([], {})
    assert result["records_changed"] == 1
    assert wrong["2022-12-22"] != right["2022-12-22"]
    assert levels(desk) == pytest.approx(right, rel=1e-12)
