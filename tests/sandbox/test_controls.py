"""The sandbox's own switches."""

from typing import Any

import httpx
import pytest

from tests.market_data.stage import Switches


def test_every_switch_shows_and_resets(sandbox: Switches) -> None:
    at_first = httpx.get(f"{sandbox.url}/sandbox").json()
    assert at_first == {
        "clock": "2022-12-28T22:00:00+00:00",
        "plan": {"per_minute": 610, "per_day": None},
        "faults": [],
        "splits": {},
        "refused_keys": 0,
        "errors_as_200": False,
        "symbols": 21,
    }
    sandbox.set("clock", {"now": "2020-01-02T22:00:00Z"})
    sandbox.set("plan", {"per_minute": 8, "per_day": 800})
    sandbox.set("faults", [{"kind": "zero"}])
    sandbox.set("splits", {"KO": {"session": "2012-08-13", "ratio": 2}})
    sandbox.set("keys", {"refused": ["k"]})
    sandbox.set("errors", {"as_200": True})
    changed = httpx.get(f"{sandbox.url}/sandbox").json()
    assert {name for name in changed if changed[name] == at_first[name]} == {"symbols"}
    sandbox.reset()
    assert httpx.get(f"{sandbox.url}/sandbox").json() == at_first


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("clock", {"now": "2022-12-28T22:00:00"}),
        ("clock", {}),
        ("plan", {"per_minute": 0}),
        ("plan", {"per_hour": 8}),
        ("faults", [{"kind": "boredom"}]),
        ("faults", {"kind": "zero"}),
        ("splits", {"KO": {"ratio": 2}}),
        ("errors", "yes"),
    ],
)
def test_nonsense_is_refused(sandbox: Switches, switch: str, value: Any) -> None:
    answer = httpx.put(f"{sandbox.url}/sandbox/{switch}", json=value)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_a_fault_goes_after_it_has_happened_often_enough(sandbox: Switches) -> None:
    sandbox.faults({"kind": "unknown", "symbols": ["AAPL"], "times": 2})
    asked = {"interval": "1day", "outputsize": 1}
    codes = [
        sandbox.get("/time_series", symbol=symbol, **asked).status_code
        for symbol in ("KO", "AAPL", "KO", "AAPL", "AAPL")
    ]
    assert codes == [200, 404, 200, 404, 200]


def test_a_fault_concerns_its_endpoint_only(sandbox: Switches) -> None:
    sandbox.faults({"kind": "server_error", "path": "/quote"})
    assert sandbox.get("/quote", symbol="AAPL").status_code == 500
    assert sandbox.get("/price", symbol="AAPL").status_code == 200


def test_calls_are_counted_without_their_key(sandbox: Switches) -> None:
    httpx.get(f"{sandbox.url}/price", params={"symbol": "AAPL,KO", "apikey": "s3cret"})
    httpx.get(f"{sandbox.url}/health")
    seen = httpx.get(f"{sandbox.url}/sandbox/requests").json()
    assert (seen["count"], seen["credits"]) == (1, 2)
    call = seen["requests"][0]
    assert (call["path"], call["symbols"], call["status"]) == ("/price", ["AAPL", "KO"], 200)
    assert "s3cret" not in str(seen)
    assert httpx.delete(f"{sandbox.url}/sandbox/requests").json()["count"] == 0
