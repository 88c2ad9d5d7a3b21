"""The official Python client, unchanged, gets right answers."""

from typing import Any

import pytest
from twelvedata import TDClient
from twelvedata.exceptions import (
    BadRequestError,
    InternalServerError,
    InvalidApiKeyError,
    TwelveDataError,
)

from tests.market_data.stage import Switches


@pytest.fixture
def official(sandbox: Switches) -> Any:
    return TDClient(apikey="official", base_url=sandbox.url)


def test_one_symbol_as_json_frame_and_csv(official: Any) -> None:
    asked = official.time_series(symbol="AAPL", interval="1day", outputsize=3)
    first = asked.as_json()[0]
    assert first == {
        "datetime": "2022-12-28",
        "open": "125.67400",
        "high": "125.67400",
        "low": "125.67400",
        "close": "125.67400",
    }
    frame = asked.as_pandas()
    assert frame["close"].tolist() == [125.674, 129.652, 131.477]
    assert [*asked.as_csv()[1]] == ["2022-12-28", *["125.67400"] * 4]


def test_its_default_of_thirty_rows_cuts_a_window(official: Any) -> None:
    asked = official.time_series(symbol="AAPL", interval="1day", start_date="2022-01-01")
    assert len(asked.as_json()) == 30


def test_a_whole_page(official: Any) -> None:
    asked = official.time_series(
        symbol="KO", interval="1day", start_date="1990-01-01", outputsize=5000, order="ASC"
    )
    frame = asked.as_pandas()
    assert len(frame) == 5000
    assert (str(frame.index[0].date()), frame["close"].iloc[0]) == ("2003-02-20", 10.975)
    assert (str(frame.index[-1].date()), frame["close"].iloc[-1]) == ("2022-12-28", 62.609)


def test_a_batch_and_what_it_drops(official: Any) -> None:
    asked = official.time_series(symbol=["AAPL", "ZZZZ", "MSFT"], interval="1day", outputsize=2)
    body = asked.as_json()
    # It leaves failed symbols out without a word, and refuses to make a frame of the others.
    assert {symbol: len(rows) for symbol, rows in body.items()} == {"AAPL": 2, "MSFT": 2}
    with pytest.raises(BadRequestError):
        asked.as_pandas()


def test_a_batch_as_a_frame(official: Any) -> None:
    frame = official.time_series(symbol="AAPL,MSFT", interval="1day", outputsize=2).as_pandas()
    assert frame.loc[("MSFT", "2022-12-28"), "close"] == "233.43400"


def test_months(official: Any) -> None:
    frame = official.time_series(symbol="KO", interval="1month", outputsize=2).as_pandas()
    assert [str(day.date()) for day in frame.index] == ["2022-12-01", "2022-11-01"]
    assert frame["close"].iloc[0] == 62.609


def test_quotes_prices_and_closes(official: Any) -> None:
    assert official.price(symbol="AAPL").as_json() == {"price": "125.67400"}
    assert official.quote(symbol="AAPL").as_json()["percent_change"] == "-3.06821"
    assert official.eod(symbol="AAPL").as_json()["close"] == "125.67400"
    assert sorted(official.price(symbol="AAPL,KO").as_json()) == ["AAPL", "KO"]


def test_lists(official: Any) -> None:
    assert len(official.get_stocks_list().as_json()) == 20
    assert official.get_stocks_list(exchange="NASDAQ").as_pandas()["symbol"].tolist() == [
        "AAPL",
        "AMD",
        "MSFT",
        "PEP",
    ]
    assert official.symbol_search(symbol="MSFT").as_json()[0]["symbol"] == "MSFT"
    earliest = official.get_earliest_timestamp(symbol="KO", interval="1day").as_json()
    assert earliest["datetime"] == "1990-01-02"
    assert official.api_usage().as_json()["plan_limit"] == 610


def test_errors_become_its_exceptions(official: Any, sandbox: Switches) -> None:
    asked = official.time_series(symbol="AAPL", interval="1day", end_date="1980-01-01")
    with pytest.raises(BadRequestError, match="No data is available"):
        asked.as_json()
    with pytest.raises(TwelveDataError, match="missing or invalid"):
        official.time_series(symbol="ZZZZ", interval="1day").as_json()
    sandbox.set("keys", {"refused": ["official"]})
    with pytest.raises(InvalidApiKeyError):
        official.price(symbol="AAPL").as_json()
    sandbox.reset()
    sandbox.faults({"kind": "edge_page"})
    with pytest.raises(InternalServerError, match="502 Bad Gateway"):
        official.time_series(symbol="AAPL", interval="1day").as_json()


@pytest.mark.parametrize("as_200", [False, True])
def test_a_batch_refused_as_a_whole_trips_it_up(
    official: Any, sandbox: Switches, *, as_200: bool
) -> None:
    # It sees the batch header first and takes the error's fields for symbols.
    sandbox.set("errors", {"as_200": as_200})
    sandbox.set("plan", {"per_minute": 1})
    with pytest.raises(TypeError):
        official.time_series(symbol="AAPL,KO", interval="1day").as_json()
