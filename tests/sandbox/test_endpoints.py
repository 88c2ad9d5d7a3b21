"""The other endpoints, as Twelve Data documents them."""

import httpx

from tests.market_data.stage import Switches, until_early_in_a_minute


def test_quote(sandbox: Switches) -> None:
    body = sandbox.get("/quote", symbol="AAPL").json()
    assert (body["symbol"], body["name"], body["datetime"]) == ("AAPL", "Apple Inc.", "2022-12-28")
    assert (body["close"], body["previous_close"]) == ("125.674", "129.652")
    assert (body["change"], body["percent_change"]) == ("-3.978", "-3.06821")
    assert body["is_market_open"] is False
    # 14:30 UTC, the opening in New York.
    assert body["timestamp"] == 1672237800
    assert body["fifty_two_week"]["low"] == "125.674"
    assert "status" not in body


def test_price_and_end_of_day_for_one_and_for_several(sandbox: Switches) -> None:
    assert sandbox.get("/price", symbol="AAPL").json() == {"price": "125.67400"}
    assert sandbox.get("/price", symbol="AAPL,KO").json() == {
        "AAPL": {"price": "125.67400"},
        "KO": {"price": "62.60900"},
    }
    body = sandbox.get("/eod", symbol="KO", date="2022-12-27").json()
    assert (body["datetime"], body["close"], body["mic_code"]) == ("2022-12-27", "63.24", "XNYS")
    assert sandbox.get("/eod", symbol="KO", date="2022-12-26").json()["code"] == 400


def test_lists_and_search(sandbox: Switches) -> None:
    assert sandbox.get("/stocks").json()["count"] == 20
    assert sandbox.get("/stocks", exchange="NASDAQ").json()["count"] == 4
    (stock,) = sandbox.get("/stocks", symbol="ko").json()["data"]
    assert stock == {
        "symbol": "KO",
        "name": "The Coca-Cola Co.",
        "exchange": "NYSE",
        "mic_code": "XNYS",
        "currency": "USD",
        "country": "United States",
        "type": "Common Stock",
    }
    assert [one["symbol"] for one in sandbox.get("/indices").json()["data"]] == ["SPX"]
    found = sandbox.get("/symbol_search", symbol="co").json()["data"]
    assert "KO" in [one["symbol"] for one in found]
    nothing = httpx.get(f"{sandbox.url}/symbol_search", params={"symbol": "qqqq"})
    assert (nothing.status_code, nothing.json()) == (200, {"data": [], "status": "ok"})


def test_the_earliest_bar(sandbox: Switches) -> None:
    body = sandbox.get("/earliest_timestamp", symbol="AAPL", interval="1day").json()
    assert body == {"datetime": "1990-01-02", "unix_time": 631290600}


def test_what_the_sandbox_lacks(sandbox: Switches) -> None:
    assert sandbox.get("/dividends", symbol="AAPL").json()["code"] == 404


def test_credits_on_every_answer_and_refusals_raise_them_too(sandbox: Switches) -> None:
    def told(answer: httpx.Response) -> tuple[str, str, str]:
        names = ("api-credits-request", "api-credits-used", "api-credits-left")
        first, second, third = (answer.headers[name] for name in names)
        return first, second, third

    until_early_in_a_minute()
    sandbox.set("plan", {"per_minute": 8, "per_day": 800})
    asked = {"interval": "1day", "outputsize": 5000}
    assert told(sandbox.get("/time_series", symbol="AAPL,KO,ZZZZ", **asked)) == ("3", "3", "5")
    assert told(sandbox.get("/stocks")) == ("1", "4", "4")

    refused = sandbox.get("/time_series", symbol="A,B,C,D,E", **asked)
    assert refused.status_code == 429
    assert refused.headers["is_batch"] == "true"
    assert "9 API credits were used, with the current limit being 8." in refused.json()["message"]
    assert told(refused) == ("5", "9", "0")
    assert "for the current minute" in sandbox.get("/stocks").json()["message"]


def test_the_day_runs_out(sandbox: Switches) -> None:
    sandbox.set("plan", {"per_minute": 8, "per_day": 2})
    usage = sandbox.get("/api_usage").json()
    assert (usage["current_usage"], usage["plan_limit"]) == (1, 8)
    assert (usage["daily_usage"], usage["plan_daily_limit"]) == (1, 2)
    assert usage["plan_category"] == "basic"
    sandbox.get("/stocks")
    refused = sandbox.get("/stocks")
    assert refused.status_code == 429
    assert "for the day. 3 API credits were used" in refused.json()["message"]


def test_errors_may_come_with_http_200(sandbox: Switches) -> None:
    sandbox.set("errors", {"as_200": True})
    answer = sandbox.get("/time_series", symbol="ZZZZ", interval="1day")
    assert (answer.status_code, answer.json()["code"]) == (200, 404)
