"""`POST /batch`, as Twelve Data's OpenAPI file describes it."""

from typing import Any

import httpx
import pytest

from tests.market_data.stage import Switches

PARTS = {
    "first": {"url": "/time_series?symbol=AAPL&interval=1day&outputsize=2&apikey=ignored"},
    "second": {"url": "/price?symbol=KO,MSFT"},
}


def post(sandbox: Switches, body: Any, key: str = "apikey test") -> httpx.Response:
    return httpx.post(f"{sandbox.url}/batch", json=body, headers={"Authorization": key})


def test_every_part_is_answered_under_its_name(sandbox: Switches) -> None:
    answer = post(sandbox, PARTS)
    body = answer.json()
    assert (body["code"], body["status"]) == (200, "success")
    assert body["data"]["first"]["status"] == "success"
    values = body["data"]["first"]["response"]["values"]
    assert [row["close"] for row in values] == ["125.674", "129.652"]
    assert body["data"]["second"]["response"]["KO"] == {"price": "62.60900"}
    assert answer.headers["api-credits-request"] == "3"
    assert [call["credits"] for call in sandbox.requests()] == [1, 2]
    assert "ignored" not in str(sandbox.requests())


def test_a_part_that_fails_fails_alone(sandbox: Switches) -> None:
    bad = {"bad": {"url": "/price?symbol=ZZZZ"}, "none": {"url": "/nothing"}}
    data = post(sandbox, bad | PARTS).json()["data"]
    assert data["bad"]["response"]["code"] == data["none"]["response"]["code"] == 404
    assert data["first"]["status"] == "success"


def test_what_the_credits_do_not_cover_is_refused(sandbox: Switches) -> None:
    sandbox.set("plan", {"per_minute": 1})
    data = post(sandbox, PARTS).json()["data"]
    assert data["first"]["status"] == "success"
    assert data["second"]["response"]["code"] == 429


@pytest.mark.parametrize("body", [[], "x", {"a": 1}, {"a": {}}, {"a": {"url": 5}}, None])
def test_another_body_is_refused(sandbox: Switches, body: Any) -> None:
    assert post(sandbox, body).json()["code"] == 400


def test_a_key_is_needed(sandbox: Switches) -> None:
    assert post(sandbox, PARTS, key="").status_code == 401
