"""`/time_series` as the facts of Twelve Data's API have it, over HTTP."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.market_data.stage import Switches


def series(sandbox: Switches, **parameters: Any) -> dict[str, Any]:
    answer = sandbox.get("/time_series", **{"symbol": "AAPL", "interval": "1day"} | parameters)
    body: dict[str, Any] = answer.json()
    if body.get("status") == "error":
        assert answer.status_code == body["code"]
    return body


def days(body: dict[str, Any]) -> list[str]:
    return [row["datetime"] for row in body["values"]]


def test_one_symbol_is_flat_and_numbers_are_text(sandbox: Switches) -> None:
    answer = sandbox.get("/time_series", symbol="AAPL", interval="1day", outputsize=1)
    assert answer.json() == {
        "meta": {
            "symbol": "AAPL",
            "interval": "1day",
            "currency": "USD",
            "exchange_timezone": "America/New_York",
            "exchange": "NASDAQ",
            "mic_code": "XNGS",
            "type": "Common Stock",
        },
        "values": [
            {
                "datetime": "2022-12-28",
                "open": "125.674",
                "high": "125.674",
                "low": "125.674",
                "close": "125.674",
            }
        ],
        "status": "ok",
    }
    assert "Is_batch" not in answer.headers
    assert "Retry-After" not in answer.headers


def test_several_symbols_are_keyed_as_they_were_written(sandbox: Switches) -> None:
    answer = sandbox.get(
        "/time_series", symbol="aapl,KO:NYSE,KO:NASDAQ,ZZZZ,", interval="1day", outputsize=1
    )
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["is_batch"] == "true"
    assert list(body) == ["aapl", "KO:NYSE", "KO:NASDAQ", "ZZZZ"]
    assert [body[key]["status"] for key in body] == ["ok", "ok", "error", "error"]
    assert body["aapl"]["meta"]["symbol"] == "AAPL"
    assert sorted(body["ZZZZ"]) == ["code", "message", "status"]
    assert body["ZZZZ"]["code"] == 404


def test_without_dates_the_thirty_newest_come_newest_first(sandbox: Switches) -> None:
    found = days(series(sandbox))
    assert (len(found), found[0]) == (30, "2022-12-28")
    assert found == sorted(found, reverse=True)


def test_the_end_date_is_not_included(sandbox: Switches) -> None:
    assert days(series(sandbox, start_date="2022-12-22", end_date="2022-12-28")) == [
        "2022-12-27",
        "2022-12-23",
        "2022-12-22",
    ]
    assert days(series(sandbox, end_date="2022-12-28 09:30:00", outputsize=1)) == ["2022-12-28"]


def test_with_dates_as_many_come_as_a_page_holds_the_newest_first(sandbox: Switches) -> None:
    found = days(series(sandbox, start_date="1990-01-01"))
    assert (len(found), found[0]) == (5000, "2022-12-28")
    assert days(series(sandbox, start_date="2022-12-01", outputsize=2)) == [
        "2022-12-28",
        "2022-12-27",
    ]


@pytest.mark.parametrize(
    ("date", "expected"), [("today", "2022-12-28"), ("yesterday", "2022-12-27")]
)
def test_a_single_date(sandbox: Switches, date: str, expected: str) -> None:
    assert days(series(sandbox, date=date)) == days(series(sandbox, date=expected)) == [expected]


def test_decimals_order_and_the_close_before(sandbox: Switches) -> None:
    body = series(
        sandbox, dp="2", order="ASC", start_date="2022-12-27", previous_close="true", format="JSON"
    )
    assert [(row["close"], row["previous_close"]) for row in body["values"]] == [
        ("129.65", "131.48"),
        ("125.67", "129.65"),
    ]
    first = series(sandbox, start_date="1990-01-02", end_date="1990-01-03", previous_close="true")
    assert first["values"][0]["previous_close"] is None


def test_csv(sandbox: Switches) -> None:
    answer = sandbox.get("/time_series", symbol="AAPL", interval="1day", outputsize=1, format="CSV")
    assert answer.headers["content-type"] == "text/csv"
    assert answer.text == (
        "datetime;open;high;low;close\n2022-12-28;125.674;125.674;125.674;125.674\n"
    )


@pytest.mark.parametrize(
    ("parameters", "code", "said"),
    [
        ({"interval": "0.99min"}, 400, "Invalid **interval** provided: 0.99min."),
        ({"interval": ""}, 400, "Invalid **interval** provided"),
        ({"interval": "1h"}, 404, "Data not found"),
        ({"outputsize": "0"}, 400, "**outputsize**"),
        ({"outputsize": "5001"}, 400, "**outputsize**"),
        ({"outputsize": "many"}, 400, "**outputsize**"),
        ({"order": "up"}, 400, "**order**"),
        ({"dp": "12"}, 400, "**dp**"),
        ({"start_date": "soon"}, 400, "**start_date**"),
        ({"adjust": "maybe"}, 400, "**adjust**"),
        ({"start_date": "2022-12-24", "end_date": "2022-12-26"}, 400, "No data is available"),
        ({"end_date": "1990-01-02"}, 400, "No data is available"),
        ({"symbol": ""}, 404, "missing or invalid"),
        ({"symbol": "ZZZZ"}, 404, "missing or invalid"),
        ({"exchange": "NYSE"}, 404, "missing or invalid"),
        ({"type": "ETF"}, 404, "missing or invalid"),
    ],
)
def test_errors(sandbox: Switches, parameters: dict[str, str], code: int, said: str) -> None:
    body = series(sandbox, **parameters)
    assert body["code"] == code
    assert said in body["message"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"exchange": "nasdaq"},
        {"mic_code": "XNGS"},
        {"country": "united states"},
        {"type": "Common Stock"},
        {"symbol": "aapl"},
        {"SYMBOL": "AAPL"},
    ],
)
def test_filters_and_names_in_any_case(sandbox: Switches, parameters: dict[str, str]) -> None:
    assert series(sandbox, **parameters)["status"] == "ok"


def test_a_hundred_and_twenty_symbols_and_no_more(sandbox: Switches) -> None:
    names = [f"S{n}" for n in range(121)]
    assert len(series(sandbox, symbol=",".join(names[:120]))) == 120
    assert series(sandbox, symbol=",".join(names))["code"] == 414


def test_today_shows_unfinished_while_the_exchange_trades(sandbox: Switches) -> None:
    moments = {
        datetime(2022, 12, 28, 14, 29, tzinfo=UTC): ("2022-12-27", "129.652"),
        datetime(2022, 12, 28, 14, 30, tzinfo=UTC): ("2022-12-28", "127.663"),  # half of the way
        datetime(2022, 12, 28, 21, 0, tzinfo=UTC): ("2022-12-28", "125.674"),
        # A half day: it closed at one o'clock, and its bar is final.
        datetime(2022, 11, 25, 18, 1, tzinfo=UTC): ("2022-11-25", "147.68"),
        datetime(2022, 11, 25, 17, 59, tzinfo=UTC): ("2022-11-25", "149.1555"),
    }
    for now, expected in moments.items():
        sandbox.clock(now)
        newest = series(sandbox, outputsize=1)["values"][0]
        assert (newest["datetime"], newest["close"]) == expected


def test_a_split_restates_all_prices_but_the_unadjusted_ones_before_it(sandbox: Switches) -> None:
    sandbox.set("splits", {"aapl": {"session": "2022-12-28", "ratio": 2}})

    def closes(adjust: str) -> list[str]:
        rows = series(sandbox, outputsize=2, adjust=adjust)["values"]
        return [row["close"] for row in rows]

    assert closes("splits") == ["62.837", "64.826"]
    assert closes("none") == ["62.837", "129.652"]
    sandbox.clock(datetime(2022, 12, 27, 22, tzinfo=UTC))
    assert closes("splits")[0] == "129.652"


def test_a_key_in_the_header_or_the_address_and_none(sandbox: Switches) -> None:
    url = f"{sandbox.url}/time_series"
    asked = {"symbol": "AAPL", "interval": "1day"}
    assert httpx.get(url, params=asked, headers={"Authorization": "apikey k"}).is_success
    assert httpx.get(url, params=asked | {"apikey": "k"}).is_success
    assert httpx.get(url, params=asked).status_code == 401
    assert httpx.get(url, params=asked | {"apikey": ""}).status_code == 401
    sandbox.set("keys", {"refused": ["bad"]})
    assert httpx.get(url, params=asked | {"apikey": "bad"}).json()["code"] == 401


def test_weeks_and_months_are_joined_from_days(sandbox: Switches) -> None:
    days = series(sandbox, start_date="2022-12-01")["values"]
    month = series(sandbox, interval="1month", outputsize=1)
    assert month["meta"]["interval"] == "1month"
    (bar,) = month["values"]
    assert bar == {
        "datetime": "2022-12-01",
        "open": days[-1]["open"],
        "high": max((row["high"] for row in days), key=float),
        "low": min((row["low"] for row in days), key=float),
        "close": days[0]["close"],
    }
    weeks = series(sandbox, interval="1week", start_date="2022-12-12")["values"]
    # Mondays, the holiday of 26 December too.
    assert [week["datetime"] for week in weeks] == ["2022-12-26", "2022-12-19", "2022-12-12"]
    assert [week["close"] for week in weeks] == ["125.674", "131.477", "134.119"]
    assert series(sandbox, interval="5min")["code"] == 404


def test_a_dropped_connection_brings_no_byte(sandbox: Switches) -> None:
    sandbox.faults({"kind": "dropped", "times": 1})
    asked = {"symbol": "AAPL", "interval": "1day"}
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        sandbox.get("/time_series", **asked)
    assert sandbox.get("/time_series", **asked).is_success
    # The provider may have counted it.
    assert [(call["status"], call["credits"]) for call in sandbox.requests()] == [(0, 1), (200, 1)]
