"""Replies that were once stored wrongly, as the provider sends them, over a real connection."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from pydantic import SecretStr

from autoindex.market_data.client import TwelveData
from autoindex.market_data.paging import BatchReply
from tests.market_data.stage import Asset, Refresh
from tests.market_data.test_malformed import Wire

REPLIES = Path(__file__).parent / "replies"

Ask = Callable[..., BatchReply]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Asks for a symbol, and gets the reply of this name."""
    wire = Wire()
    with TwelveData(wire.url, SecretStr("k3y")) as client:

        def asked(name: str, asset: Asset, newest: date | None = None) -> BatchReply:
            body = json.dumps(json.loads((REPLIES / f"{name}.json").read_text())).encode()
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            wire.sent = head % len(body) + body
            return Refresh(client).only(asset, newest)

        yield asked
    wire.close()


WMT = Asset("WMT", "NYSE")


def test_bars_in_no_order_are_all_valid(ask: Ask) -> None:
    (fetched,) = ask("shuffled", WMT).fetched
    values = json.loads((REPLIES / "shuffled.json").read_text())["values"]
    expected = sorted((one["datetime"], float(one["close"])) for one in values)
    found = zip(fetched.bars.sessions.astype(str), fetched.bars.close, strict=True)
    assert (list(found), fetched.dropped) == (expected, {})


def test_two_bars_of_one_day_are_both_dropped(ask: Ask) -> None:
    (fetched,) = ask("two_bars_one_day", WMT).fetched
    assert fetched.dropped == {"conflicting": 2}
    assert fetched.bars.sessions.astype(str).tolist() == ["2022-12-27"]


def test_a_close_over_its_high_is_dropped_and_its_session_still_missing(ask: Ask) -> None:
    (fetched,) = ask("close_over_high", WMT, date(2022, 12, 27)).fetched
    assert (fetched.dropped, fetched.newest_dropped) == ({"out of range": 1}, True)
    assert fetched.bars.close.tolist() == [99.0]


def test_pence_are_no_pounds(ask: Ask) -> None:
    (refused,) = ask("pence", Asset("VOD", "LSE", "GBP")).refused
    assert refused.reason == "asked for currency GBP, the provider responded with GBp"
    assert ask("pence", Asset("VOD", "LSE", "GBp")).fetched
