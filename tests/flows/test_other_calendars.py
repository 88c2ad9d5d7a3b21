"""A year of other exchanges than New York's: refresh, index and report, as a worker runs them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import exchange_calendars
import numpy as np
import pytest
from sqlalchemy import Engine, text

from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from sandbox.sample_prices import Bar, Listing
from sandbox.state import Sandbox
from tests.flows.conftest import Worker
from tests.market_data.conftest import served
from tests.market_data.stage import AFTER_LAST_CLOSE

# Calendar, exchange, currency, symbols, and a session that New York lacks beside one that it has.
MARKETS = [
    ("XLON", "LSE", "GBp", ("VOD", "BP", "3IN"), date(2022, 6, 20), date(2022, 6, 2)),
    ("XTKS", "JPX", "JPY", ("7203", "6758", "9984"), date(2022, 12, 26), date(2022, 11, 3)),
]


def listings(
    code: str, exchange: str, currency: str, symbols: tuple[str, ...]
) -> dict[str, Listing]:
    """Made-up prices on the sessions of a year."""
    random = np.random.default_rng(3)
    days = exchange_calendars.get_calendar(code, "2022-01-01", "2022-12-28").sessions
    made = {}
    for symbol in symbols:
        closes = 500 * np.exp(np.cumsum(random.normal(0, 0.01, len(days))))
        bars = (
            Bar(f"{day:%Y-%m-%d}", *[f"{close:.2f}"] * 4)
            for day, close in zip(days, closes, strict=True)
        )
        made[symbol] = Listing(symbol, symbol, exchange, currency, tuple(bars))
    return made


@dataclass
class Runs:
    """Runs flows as a worker does, with an environment of their own."""

    worker: Worker
    engine: Engine
    env: Mapping[str, str]

    def result(self, flow: str, name: str, **asked: Any) -> dict[str, Any]:
        run = self.worker.ask(self.worker.deploy(f"flows.{flow}.{flow}", name), **asked)
        ended = self.worker.run(run, self.env)
        assert ended.state is not None
        assert ended.state.is_completed(), ended.state.message
        query = text("select result from task_results where task_id = :id")
        with self.engine.connect() as connection:
            found: dict[str, Any] = connection.execute(query, {"id": run.id}).scalar_one()
        return found


@pytest.mark.parametrize(("code", "exchange", "currency", "symbols", "ours", "theirs"), MARKETS)
def test_a_year_of_another_exchange(
    worker: Worker,
    engine: Engine,
    code: str,
    exchange: str,
    currency: str,
    symbols: tuple[str, ...],
    ours: date,
    theirs: date,
) -> None:
    market = listings(code, exchange, currency, symbols)
    count = len(market[symbols[0]].bars)
    shares = {"shares_outstanding": 10**9, "shares_outstanding_date": date(2022, 1, 4)}
    with engine.begin() as connection:
        rows = [
            UniverseRow(symbol=one, exchange=exchange, currency=currency, name=one, **shares)
            for one in symbols
        ]
        import_universe(connection, rows)
    with served(Sandbox(market)) as url:
        env = {
            "AUTOINDEX_CALENDAR": code,
            "AUTOINDEX_TWELVE_DATA_BASE_URL": url,
            "AUTOINDEX_CLOCK": AFTER_LAST_CLOSE.isoformat(),
        }
        runs = Runs(worker, engine, env)
        refreshed = runs.result("refresh_market_data", "full", mode="full")
        again = runs.result("refresh_market_data", "smart")
        runs.result("generate_report", "report", report_type="quarterly", format="json")
    assert refreshed["records_inserted"] == 3 * count
    assert (refreshed["refused"], refreshed["rows_dropped"]) == ({}, {})
    assert again["credits_spent"] == 0
    with engine.connect() as connection:
        days = set(connection.execute(text("select session from index_levels")).scalars())
    # The first level has 61 closes behind it, and every session after that has one.
    assert len(days) == count - 60
    assert (ours in days, theirs in days) == (True, False)
    (file,) = worker.settings.reports_dir.glob("**/*.json")
    report = json.loads(file.read_text())
    assert report["currency"] == currency
    assert f"those of the exchange {code}" in file.read_text()
