"""What is remembered of the provider's answers."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from autoindex.market_data.fetch_plan import Answered
from autoindex.storage.prices import fetches
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow

AT = datetime(2022, 12, 28, 22, tzinfo=UTC)
ROWS = [
    UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name=symbol)
    for symbol in ("AAPL", "KO", "XOM")
]


@pytest.fixture
def ids(engine: Engine) -> dict[str, int]:
    with engine.begin() as connection:
        import_universe(connection, ROWS)
        return {asset.symbol: asset.id for asset in assets.list_assets(connection)}


def load(engine: Engine) -> dict[str, Answered]:
    with engine.connect() as connection:
        return fetches.load(connection, assets.list_assets(connection))


def test_a_later_answer_about_the_end_keeps_when_the_whole_was_fetched(
    engine: Engine, ids: dict[str, int]
) -> None:
    with engine.begin() as connection:
        fetches.note(connection, ids.values(), [ids["AAPL"]], AT - timedelta(days=1))
    whole_at = load(engine)["AAPL"].whole_at
    with engine.begin() as connection:
        fetches.note(connection, [ids["AAPL"], ids["KO"]], [], AT)
    assert whole_at is not None
    assert datetime.now(UTC) - whole_at < timedelta(minutes=5)  # the wall clock's
    assert load(engine) == {
        "AAPL": Answered(AT, whole_at),
        "KO": Answered(AT, None),
        "XOM": Answered(AT - timedelta(days=1), None),
    }


def test_a_changed_asset_is_asked_for_anew(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        fetches.note(connection, ids.values(), [], AT)
        changed = ROWS[0].model_copy(update={"exchange": "NASDAQ"})
        import_universe(connection, [changed, *ROWS[1:]])
    assert {symbol: one.at for symbol, one in load(engine).items()} == {
        "AAPL": None,
        "KO": AT,
        "XOM": AT,
    }
