"""`autoindex prices confirm`, as an operator types it."""

import getpass
from datetime import UTC, date, datetime

import numpy as np
import pytest
from sqlalchemy import Engine, text

from autoindex.market_data.bars import Bars
from autoindex.settings import Settings
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from tests.deployments.commands.test_archive_command import autoindex

EVENING = datetime(2022, 12, 28, 22, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _stored(engine: Engine) -> None:
    store(engine)


def store(engine: Engine) -> None:
    """GE jumps by half on the newest session, KO a session before."""
    days = np.array(["2022-12-23", "2022-12-27", "2022-12-28"], "datetime64[D]")
    closes = {"GE": [60.0, 61.0, 30.6], "KO": [62.0, 31.0, 31.2]}
    rows = [UniverseRow(symbol=one, exchange="NYSE", currency="USD", name=one) for one in closes]
    with engine.begin() as connection:
        import_universe(connection, rows)
        ids = {one.symbol: one.id for one in assets.list_assets(connection)}
        bars = [
            Bars(symbol, days, *(np.array(close),) * 4, np.full(3, -1))
            for symbol, close in closes.items()
        ]
        stored_prices.upsert(connection, bars, ids)
        fetches.note(connection, list(ids.values()), [], EVENING)


def test_a_suspicious_close_is_confirmed_once_and_recorded(
    engine: Engine, settings: Settings
) -> None:
    command = "prices", "confirm", "GE", "2022-12-28"
    first, again = (autoindex(settings, *command) for _ in range(2))
    said = "the close of GE of 2022-12-28 is confirmed"
    assert (first.returncode, first.stdout) == (0, f"{said}: the next refresh counts it\n")
    assert (again.returncode, again.stdout) == (0, f"{said} already\n")
    query = text(
        "select symbol, session, confirmed_by from confirmed_closes join assets on id = asset_id"
    )
    with engine.connect() as connection:
        recorded = connection.execute(query).all()
    assert recorded == [("GE", date(2022, 12, 28), getpass.getuser())]
    none = autoindex(settings, "prices", "confirm", "KO", "2022-12-28")
    assert "the close of KO of 2022-12-28 is not suspicious; no close is" in one_line(none.stderr)


@pytest.mark.parametrize(
    ("symbol", "session", "reason"),
    [
        ("IBM", "2022-12-28", "not in the active universe: IBM; see `autoindex universe list`"),
        ("GE", "2022-12-27", "is not suspicious; those that are: GE of 2022-12-28"),
        ("KO", "2022-12-27", "is not suspicious; those that are: GE of 2022-12-28"),
        ("GE", "2022-12-31", "is not suspicious; those that are: GE of 2022-12-28"),
    ],
)
def test_anything_else_is_refused_with_what_waits(
    engine: Engine, settings: Settings, symbol: str, session: str, reason: str
) -> None:
    done = autoindex(settings, "prices", "confirm", symbol, session)
    assert done.returncode == 1
    assert reason in one_line(done.stderr)
    with engine.connect() as connection:
        assert not connection.execute(text("select from confirmed_closes")).all()


def one_line(words: str) -> str:
    return " ".join(words.split())
