"""The client against a real sandbox; only answers no server of ours can give are made up."""

import gc
import json
import logging
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from autoindex.errors import (
    ConfigurationError,
    CreditsExhausted,
    ProviderRefused,
    ProviderUnavailable,
)
from autoindex.market_data.bars import Bars
from autoindex.market_data.client import TwelveData
from autoindex.market_data.paging import BatchReply
from autoindex.requests import Mode
from tests.market_data.stage import Asset, Refresh, Switches

# Five stored sessions lead up to Friday 23 December 2022; Monday the 26th was a holiday.
FRIDAY = date(2022, 12, 23)
WINDOW = [
    "2022-12-19",
    "2022-12-20",
    "2022-12-21",
    "2022-12-22",
    "2022-12-23",
    "2022-12-27",
    "2022-12-28",
]
THREE = [Asset("AAPL"), Asset("AMD"), Asset("MSFT")]


def days(bars: Bars) -> list[str]:
    found: list[str] = bars.sessions.astype(str).tolist()
    return found


def reasons(reply: BatchReply) -> dict[str, str]:
    return {refusal.symbol: refusal.reason for refusal in reply.refused}


def row(day: str, close: Any = "10", **others: Any) -> dict[str, Any]:
    return {"datetime": day, "open": "10", "high": "10", "low": "10", "close": close} | others


def entry(values: list[Any], symbol: str = "AAPL") -> dict[str, Any]:
    meta = {"symbol": symbol, "interval": "1day", "exchange": "NASDAQ", "currency": "USD"}
    return {"meta": meta, "values": values, "status": "ok"}


@contextmanager
def answering(*answers: httpx.Response | Exception) -> Iterator[Refresh]:
    """A refresh from a provider that gives these answers, the last of them for ever."""
    rest = list(answers)

    def handle(_: httpx.Request) -> httpx.Response:
        answer = rest.pop(0) if len(rest) > 1 else rest[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    transport = httpx.MockTransport(handle)
    with TwelveData("http://provider", SecretStr("k3y"), transport=transport) as client:
        yield Refresh(client)


def test_smart_brings_the_missing_sessions_and_an_overlap_of_five(refresh: Refresh) -> None:
    fetched = refresh.bars_of("AAPL", FRIDAY)

    assert days(fetched.bars) == WINDOW
    assert fetched.bars.close[-2:].tolist() == [129.652, 125.674]
    assert fetched.bars.volume.tolist() == [-1] * 7
    assert fetched.dropped == {}


def test_a_long_history_comes_in_pages_without_a_seam(refresh: Refresh, sandbox: Switches) -> None:
    bars = refresh.bars_of("AAPL").bars

    assert (len(bars), days(bars)[0], bars.close[0]) == (8313, "1990-01-02", 0.264)
    assert (np.diff(bars.sessions).astype(int) > 0).all()
    ends = [call["parameters"]["end_date"] for call in sandbox.requests()]
    # Exclusive, so the day after the last session; then the oldest bar of the first page.
    assert ends == ["2022-12-29", str(bars.sessions[8313 - 5000])]


def test_the_key_is_in_no_address_log_or_text(
    sandbox: Switches, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox.set("keys", {"refused": ["s3cret-key"]})
    with TwelveData(sandbox.url, SecretStr("s3cret-key")) as client:
        with pytest.raises(ProviderRefused) as raised:
            client.api_usage()
        assert "s3cret" not in f"{client!r}{vars(client)}{raised.value}{caplog.text}"
    assert caplog.text
    assert "apikey" not in str(sandbox.requests())


def test_a_key_that_the_provider_repeats_is_masked() -> None:
    refused = httpx.Response(401, json={"code": 401, "message": "bad k3y", "status": "error"})
    with answering(refused) as refresh, pytest.raises(ProviderRefused, match=r"bad \*\*\*"):
        refresh(THREE, FRIDAY)


@pytest.mark.parametrize("code", [401, 404, 500])
def test_a_key_repeated_inside_a_batch_is_masked(code: int) -> None:
    failed = {"code": code, "message": "no k3y here", "status": "error"}
    body = {"AAPL": entry([row("2022-12-28")]), "AMD": failed, "MSFT": failed}
    with answering(httpx.Response(200, json=body)) as refresh:
        try:
            (reply,) = refresh(THREE, FRIDAY)
            said = f"{reply.refused}{reply.unavailable}"
        except ProviderRefused as error:
            said = str(error)
    assert "no *** here" in said


def test_one_bad_symbol_fails_alone_and_is_named(refresh: Refresh) -> None:
    (reply,) = refresh([*THREE, Asset("ZZZZ")], FRIDAY)

    assert [one.bars.symbol for one in reply.fetched] == ["AAPL", "AMD", "MSFT"]
    assert list(reasons(reply)) == ["ZZZZ"]
    assert "missing or invalid" in reasons(reply)["ZZZZ"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("unknown", "missing or invalid"),
        ("unknown_older", "not found: AMD"),
        ("gated", "Grow or Venture plan"),
        ("no_meta", "does not name its symbol"),
        ("wrong_symbol", "symbol AMD, the provider responded with STLGF"),
        ("wrong_exchange", "exchange NASDAQ, the provider responded with OTC"),
        ("wrong_currency", "currency USD, the provider responded with EUR"),
        ("wrong_unit", "currency USD, the provider responded with USd"),
        ("wrong_interval", "interval 1day, the provider responded with 1week"),
    ],
)
@pytest.mark.parametrize("assets", [THREE, [Asset("AMD")]], ids=["batch", "single"])
def test_a_symbol_is_refused(
    refresh: Refresh, sandbox: Switches, kind: str, said: str, assets: list[Asset]
) -> None:
    sandbox.faults({"kind": kind, "symbols": ["AMD"]})

    (reply,) = refresh(assets, FRIDAY)

    assert said in reasons(reply)["AMD"]
    assert len(reply.fetched) == len(assets) - 1


def test_a_symbol_left_out_of_the_answer_is_refused(refresh: Refresh, sandbox: Switches) -> None:
    sandbox.faults({"kind": "left_out", "symbols": ["AMD"]})
    (reply,) = refresh(THREE, FRIDAY)
    assert reasons(reply) == {"AMD": "the provider's response leaves it out"}


def test_a_symbol_that_fails_at_the_provider_is_left_for_later(
    refresh: Refresh, sandbox: Switches
) -> None:
    sandbox.faults({"kind": "symbol_error", "symbols": ["AMD"]})

    (reply,) = refresh(THREE, FRIDAY)

    assert list(reply.unavailable) == ["AMD"]
    assert reply.refused == ()
    assert len(reply.fetched) == 2


@pytest.mark.parametrize("as_200", [False, True], ids=["status", "http_200"])
@pytest.mark.parametrize("assets", [THREE, [Asset("AAPL")]], ids=["batch", "single"])
def test_no_data_means_no_new_rows(
    refresh: Refresh, sandbox: Switches, assets: list[Asset], *, as_200: bool
) -> None:
    sandbox.set("errors", {"as_200": as_200})
    sandbox.faults({"kind": "no_data"})

    (reply,) = refresh(assets, FRIDAY)

    assert [len(one.bars) for one in reply.fetched] == [0] * len(assets)
    assert reply.refused == ()


def test_no_rows_with_status_ok_means_no_new_rows(refresh: Refresh, sandbox: Switches) -> None:
    sandbox.faults({"kind": "empty_values"})
    assert len(refresh.bars_of("AAPL", FRIDAY).bars) == 0


def test_a_new_symbol_without_any_bars_is_refused(refresh: Refresh, sandbox: Switches) -> None:
    sandbox.faults({"kind": "no_data"})
    assert "no daily bars" in reasons(refresh.only(Asset("AAPL")))["AAPL"]


@pytest.mark.parametrize("as_200", [False, True], ids=["status", "http_200"])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("minute_exhausted", CreditsExhausted),
        ("day_exhausted", CreditsExhausted),
        ("key_refused", ProviderRefused),
        ("plan_refused", ProviderRefused),
        ("server_error", ProviderUnavailable),
    ],
)
def test_an_error_for_the_whole_call(
    refresh: Refresh, sandbox: Switches, kind: str, error: type[Exception], *, as_200: bool
) -> None:
    sandbox.set("errors", {"as_200": as_200})
    sandbox.faults({"kind": kind})

    with pytest.raises(error) as raised:
        refresh(THREE, FRIDAY)

    assert getattr(raised.value, "daily", None) == {
        "minute_exhausted": False,
        "day_exhausted": True,
    }.get(kind)
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize(
    "kind", ["dropped", "edge_page", "html", "truncated", "half_json", "empty_body", "server_error"]
)
def test_an_unusable_answer_is_worth_another_try(
    refresh: Refresh, sandbox: Switches, kind: str
) -> None:
    sandbox.faults({"kind": kind, "times": 1})

    with pytest.raises(ProviderUnavailable):
        refresh(THREE, FRIDAY)

    assert len(refresh(THREE, FRIDAY)[0].fetched) == 3


def test_a_provider_that_hangs_is_given_up(sandbox: Switches) -> None:
    sandbox.faults({"kind": "delay", "seconds": 0.5})
    with (
        TwelveData(sandbox.url, SecretStr("test"), timeout_seconds=0.1) as client,
        pytest.raises(ProviderUnavailable, match="did not respond"),
    ):
        Refresh(client)(THREE, FRIDAY)


def test_a_provider_that_is_not_there(sandbox: Switches) -> None:
    with (
        TwelveData("http://127.0.0.1:1", SecretStr("test")) as client,
        pytest.raises(ProviderUnavailable),
    ):
        client.api_usage()


@pytest.mark.parametrize(
    ("url", "key"), [(None, "k3y\r"), ("127.0.0.1:1", "k3y"), ("ftp://x", "k3y")]
)
def test_what_cannot_be_asked_is_not_tried_again(
    sandbox: Switches, url: str | None, key: str
) -> None:
    with (
        TwelveData(url or sandbox.url, SecretStr(key)) as client,
        pytest.raises(ConfigurationError, match="AUTOINDEX_TWELVE_DATA_BASE_URL") as raised,
    ):
        client.api_usage()
    assert "k3y" not in str(raised.value)


def test_a_batch_that_is_too_long_is_split(refresh: Refresh, sandbox: Switches) -> None:
    sandbox.faults({"kind": "too_many_symbols", "times": 2})

    (reply,) = refresh([Asset(name) for name in ("AAPL", "AMD", "MSFT", "PEP")], FRIDAY)

    assert len(reply.fetched) == 4
    calls = [call["symbols"] for call in sandbox.requests()]
    # What an earlier test has given up may still arrive.
    sizes = [len(names) for names in calls if names != [asset.symbol for asset in THREE]]
    assert sizes == [4, 2, 1, 1, 2]


def test_a_split_call_that_one_symbol_spoils_names_it() -> None:
    unknown = {"code": 404, "message": "**symbol** is invalid", "status": "error"}

    def handle(request: httpx.Request) -> httpx.Response:
        symbols = request.url.params["symbol"].split(",")
        if "BAD" in symbols:
            return httpx.Response(404, json=unknown)
        body = {name: entry([row("2022-12-28")], name) for name in symbols}
        return httpx.Response(200, json=body if len(symbols) > 1 else body[symbols[0]])

    transport = httpx.MockTransport(handle)
    with TwelveData("http://provider", SecretStr("k"), transport=transport) as client:
        (reply,) = Refresh(client)([*THREE, Asset("BAD")], FRIDAY)

    assert reasons(reply) == {"BAD": "**symbol** is invalid"}
    assert len(reply.fetched) == 3


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("zero", "zero"),
        ("negative", "negative"),
        ("not_a_number", "not a number"),
        ("null", "not a number"),
        ("absurd", "absurd"),
        ("high_below_low", "high below low"),
        ("close_over_high", "out of range"),
        ("future", "future"),
        ("closed_day", "not a session"),
        ("unreadable_date", "unreadable"),
    ],
)
def test_a_bad_row_is_dropped_and_counted(
    refresh: Refresh, sandbox: Switches, kind: str, reason: str
) -> None:
    sandbox.faults({"kind": kind, "session": "2022-12-27"})

    fetched = refresh.bars_of("AAPL", FRIDAY)

    assert fetched.dropped == {reason: 1}
    assert days(fetched.bars) == [day for day in WINDOW if day != "2022-12-27"]


def test_a_row_served_twice_counts_once(refresh: Refresh, sandbox: Switches) -> None:
    sandbox.faults({"kind": "duplicate", "session": "2022-12-27"})
    fetched = refresh.bars_of("AAPL", FRIDAY)
    assert (days(fetched.bars), fetched.dropped) == (WINDOW, {"duplicate": 1})


def test_a_row_served_twice_with_other_prices_is_dropped(
    refresh: Refresh, sandbox: Switches
) -> None:
    sandbox.faults({"kind": "conflicting", "session": "2022-12-27"})
    fetched = refresh.bars_of("AAPL", FRIDAY)
    assert fetched.dropped == {"conflicting": 2}
    assert days(fetched.bars) == [day for day in WINDOW if day != "2022-12-27"]


def test_rows_in_any_order_are_all_kept(refresh: Refresh, sandbox: Switches) -> None:
    sandbox.faults({"kind": "out_of_order", "session": "2022-12-27"})
    fetched = refresh.bars_of("AAPL", FRIDAY)
    assert (days(fetched.bars), fetched.dropped) == (WINDOW, {})


@pytest.mark.parametrize(
    ("kind", "session", "newest", "expected"),
    [
        ("close_over_high", "2022-12-28", FRIDAY, True),
        ("conflicting", "2022-12-28", FRIDAY, True),
        ("zero", "2022-12-27", FRIDAY, False),
        ("duplicate", "2022-12-28", FRIDAY, False),
        ("no_row", "2022-12-28", FRIDAY, False),
    ],
)
def test_a_newest_session_that_is_served_but_not_usable_is_still_missing(
    refresh: Refresh, sandbox: Switches, kind: str, session: str, newest: date, *, expected: bool
) -> None:
    sandbox.faults({"kind": kind, "session": session})
    assert refresh.bars_of("AAPL", newest).newest_dropped is expected


def test_a_symbol_without_a_sane_row_is_refused(sandbox: Switches, refresh: Refresh) -> None:
    sandbox.faults(*({"kind": "zero", "session": day, "symbols": ["AMD"]} for day in WINDOW))

    (reply,) = refresh(THREE, FRIDAY)

    assert reasons(reply) == {"AMD": "no valid bar is left: 7 zero"}
    assert len(reply.fetched) == 2


def test_bars_of_an_hour_are_no_bars_of_a_day(sandbox: Switches, refresh: Refresh) -> None:
    sandbox.faults({"kind": "intraday_rows", "symbols": ["AMD"]})
    (reply,) = refresh(THREE, FRIDAY)
    assert reasons(reply) == {"AMD": "no valid bar is left: 7 unreadable"}


def test_a_bar_that_is_not_finished_is_never_kept() -> None:
    # 27 December, noon in New York: a provider that counts its end date in serves today's bar.
    noon = datetime(2022, 12, 27, 17, tzinfo=UTC)
    body = entry([row("2022-12-27"), row("2022-12-23")])
    with answering(httpx.Response(200, json=body)) as refresh:
        fetched = refresh.bars_of("AAPL", date(2022, 12, 22), now=noon)
    assert (days(fetched.bars), fetched.dropped) == (["2022-12-23"], {"unfinished": 1})


def test_while_the_exchange_trades_today_is_not_asked_for(
    refresh: Refresh, sandbox: Switches
) -> None:
    noon = datetime(2022, 12, 27, 17, tzinfo=UTC)
    sandbox.clock(noon)
    shown = sandbox.get("/time_series", symbol="AAPL", interval="1day").json()["values"]
    assert shown[0]["datetime"] == "2022-12-27"

    assert days(refresh.bars_of("AAPL", date(2022, 12, 22), now=noon).bars)[-1] == "2022-12-23"


def test_nothing_earlier_than_what_is_kept_is_fetched(refresh: Refresh, sandbox: Switches) -> None:
    asset = Asset("AAPL", prices_kept_from=date(2022, 12, 24))
    reply = refresh.only(asset, mode=Mode.FULL)
    assert days(reply.fetched[0].bars) == ["2022-12-27", "2022-12-28"]
    assert sandbox.credits() == 1


def test_rows_outside_the_window_are_left_out_in_silence() -> None:
    body = entry([row("2022-12-28"), row("2022-12-27"), row("2022-12-01")])
    with answering(httpx.Response(200, json=body)) as refresh:
        fetched = refresh.bars_of("AAPL", FRIDAY)
    assert (days(fetched.bars), fetched.dropped) == (["2022-12-27", "2022-12-28"], {})


def test_volume_numbers_and_oddities() -> None:
    volumes = ["31694100", 5, "7.0", None, "", "-3", "1e300"]
    values = [row(day, volume=v) for day, v in zip(WINDOW[::-1], volumes, strict=True)]
    with answering(httpx.Response(200, json=entry(values))) as refresh:
        fetched = refresh.bars_of("AAPL", FRIDAY)
    assert fetched.bars.volume.tolist() == [-1, -1, -1, -1, 7, 5, 31_694_100]


@pytest.mark.parametrize(
    "close",
    [True, [], {}, "1,000", "1_000", "", "٣", "٣x", "inf", 10**400, "NaN"],
)
def test_what_is_no_price_is_dropped(close: Any) -> None:
    body = entry([row("2022-12-28", close), row("2022-12-27", 10.0)])
    with answering(httpx.Response(200, json=body)) as refresh:
        fetched = refresh.bars_of("AAPL", FRIDAY)
    assert fetched.dropped == {"not a number": 1}
    assert fetched.bars.close.tolist() == [10.0]


@pytest.mark.parametrize("values", [None, "none", {}, 3])
def test_values_that_are_no_list_refuse_the_symbol(values: Any) -> None:
    with answering(httpx.Response(200, json=entry([]) | {"values": values})) as refresh:
        assert "no values" in reasons(refresh.only(Asset("AAPL"), FRIDAY))["AAPL"]


def test_rows_that_are_no_objects_are_dropped() -> None:
    body = entry([row("2022-12-28"), None, "row", 5, [], {"close": "1"}])
    with answering(httpx.Response(200, json=body)) as refresh:
        fetched = refresh.bars_of("AAPL", FRIDAY)
    assert (days(fetched.bars), fetched.dropped) == (["2022-12-28"], {"unreadable": 5})


@pytest.mark.parametrize(
    "body",
    [b"null", b"[]", b'"ok"', b"7", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' + b"9" * 5_000],
    ids=["null", "list", "text", "number", "brace", "bytes", "deep", "digits"],
)
@pytest.mark.parametrize("status", [200, 418, 502])
def test_a_body_that_makes_no_sense_is_worth_another_try(body: bytes, status: int) -> None:
    answer = httpx.Response(status, content=body)
    with answering(answer) as refresh, pytest.raises(ProviderUnavailable):
        refresh(THREE, FRIDAY)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, ProviderRefused), (403, ProviderRefused), (429, CreditsExhausted)],
)
def test_a_status_says_enough_without_json(status: int, error: type[Exception]) -> None:
    answer = httpx.Response(status, content=b"<html>no</html>")
    with answering(answer) as refresh, pytest.raises(error):
        refresh(THREE, FRIDAY)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut"),
        httpx.DecodingError("bad gzip"),
        httpx.TooManyRedirects("round"),
    ],
)
def test_a_connection_that_fails_is_worth_another_try(error: Exception) -> None:
    with answering(error) as refresh, pytest.raises(ProviderUnavailable):
        refresh(THREE, FRIDAY)


def test_an_answer_of_any_size_is_not_kept() -> None:
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, content=(b" " * 2**20 for _ in count()))
    )
    with (
        TwelveData("http://provider", SecretStr("k"), transport=transport) as client,
        pytest.raises(ProviderUnavailable, match="exceeds 64 MB"),
    ):
        client.api_usage()


def test_a_market_code_without_an_exchange_contradicts_no_name() -> None:
    body = entry([row("2022-12-28")])
    body["meta"] = {"symbol": "AAPL", "interval": "1day", "mic_code": "XNGS"}
    with answering(httpx.Response(200, json=body)) as refresh:
        assert refresh.bars_of("AAPL", FRIDAY).bars.close.tolist() == [10.0]
        other = refresh.only(Asset("AAPL", "XNYS"), FRIDAY)
    assert "exchange XNYS, the provider responded with XNGS" in reasons(other)["AAPL"]


def test_a_redirect_is_not_followed_with_the_key() -> None:
    answer = httpx.Response(302, headers={"Location": "http://elsewhere"}, json={})
    with answering(answer) as refresh, pytest.raises(ProviderUnavailable):
        refresh(THREE, FRIDAY)


def test_a_batch_keyed_with_exchanges_or_in_lower_case_is_understood() -> None:
    body = {
        "AAPL:NASDAQ": entry([row("2022-12-28")]),
        "amd": entry([row("2022-12-28")], "AMD:NASDAQ"),
        "MSFT": {"code": 404, "message": "no", "status": "error", "meta": {"symbol": "MSFT"}},
    }
    with answering(httpx.Response(200, json=body)) as refresh:
        (reply,) = refresh(THREE, FRIDAY)
    assert [one.bars.symbol for one in reply.fetched] == ["AAPL", "AMD"]
    assert reasons(reply) == {"MSFT": "no"}


def test_a_batch_that_failed_in_part_with_an_error_status_is_read() -> None:
    failed = {"code": 404, "message": "no", "status": "error"}
    body = {"AAPL": entry([row("2022-12-28")]), "AMD": failed, "MSFT": failed}
    with answering(httpx.Response(404, json=body)) as refresh:
        (reply,) = refresh(THREE, FRIDAY)
    assert [one.bars.symbol for one in reply.fetched] == ["AAPL"]


def test_a_bad_key_found_inside_a_batch_stops_at_once() -> None:
    failed = {"code": 401, "message": "**apikey** is incorrect", "status": "error"}
    body = {"AAPL": failed, "AMD": failed, "MSFT": failed}
    with answering(httpx.Response(200, json=body)) as refresh, pytest.raises(ProviderRefused):
        refresh(THREE, FRIDAY)


def history(last: date, count: int) -> list[dict[str, Any]]:
    return [row((last - timedelta(days=n)).isoformat()) for n in range(count)]


def test_a_provider_that_ignores_the_end_date_does_not_loop() -> None:
    body = entry(history(date(2022, 12, 28), 5000))
    with answering(httpx.Response(200, json=body)) as refresh:
        fetched = refresh.bars_of("AAPL")
    # The S&P 500 file has 3,448 rows in these 5,000 days.
    assert len(fetched.bars) == 3448
    assert fetched.dropped == {"not a session": 5000 - 3448}


def test_a_wrong_date_does_not_end_the_history() -> None:
    before: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        before.append(request.url.params["end_date"])
        values = history(date(2022, 12, 28), 5000) if len(before) == 1 else []
        return httpx.Response(200, json=entry([row("1970-01-05"), *values[1:]]))

    transport = httpx.MockTransport(handle)
    with TwelveData("http://provider", SecretStr("k"), transport=transport) as client:
        Refresh(client).bars_of("AAPL")
    # The fifth-oldest of the right dates: rows that come twice count once.
    assert before == ["2022-12-29", "2009-04-25"]


def test_a_history_without_an_end_is_refused() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        end = date.fromisoformat(request.url.params["end_date"]) - timedelta(days=1)
        return httpx.Response(200, json=entry(history(end, 5000)))

    transport = httpx.MockTransport(handle)
    with TwelveData("http://provider", SecretStr("k"), transport=transport) as client:
        reply = Refresh(client).only(Asset("AAPL"))
    assert "more rows than there were sessions" in reasons(reply)["AAPL"]
    assert reply.credits.spent == 3


def test_half_a_history_is_not_handed_over(refresh: Refresh, sandbox: Switches) -> None:
    sandbox.faults({"kind": "symbol_error", "symbols": ["AMD"], "times": 1})
    first = refresh(THREE)[0]
    assert list(first.unavailable) == ["AMD"]

    page = httpx.Response(200, json=entry(history(date(2022, 12, 28), 5000)))
    failed = httpx.Response(200, json={"code": 500, "message": "oops", "status": "error"})
    with answering(page, failed) as broken, pytest.raises(ProviderUnavailable):
        broken.only(Asset("AAPL"))


def test_the_credits_are_those_of_the_headers(refresh: Refresh, sandbox: Switches) -> None:
    (reply,) = refresh(THREE, FRIDAY)
    assert (reply.credits.spent, reply.credits.used, reply.credits.left) == (3, 3, 607)

    no_headers = httpx.Response(200, json={"AAPL": entry([row("2022-12-28")])})
    with answering(no_headers) as silent:
        (reply,) = silent(THREE, FRIDAY)
    assert (reply.credits.spent, reply.credits.used, reply.credits.left) == (3, None, None)


@pytest.mark.parametrize("number", ["99999999999", "9" * 5000, "-1", "1e3", "٣", ""])
def test_a_header_that_is_no_count_of_credits_is_not_believed(number: str) -> None:
    names = ("Api-Credits-Used", "Api-Credits-Left", "Api-Credits-Request")
    headers = [(name, number.encode()) for name in names]
    answer = httpx.Response(200, headers=headers, json=entry([row("2022-12-28")]))
    with answering(answer) as refresh:
        told = refresh.only(Asset("AAPL"), FRIDAY).credits
    assert (told.spent, told.used, told.left) == (1, None, None)


def test_api_usage_of_both_kinds_of_plan(client: TwelveData, sandbox: Switches) -> None:
    usage = client.api_usage()
    assert (usage.per_minute, usage.per_day, usage.used_today) == (610, None, None)

    sandbox.set("plan", {"per_minute": 8, "per_day": 800})
    usage = client.api_usage()
    assert (usage.per_minute, usage.per_day) == (8, 800)
    assert (usage.used_this_minute, usage.used_today) == (1, 1)


def test_api_usage_without_limits_is_worth_another_try() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"timestamp": "now"}))
    with (
        TwelveData("http://provider", SecretStr("k"), transport=transport) as client,
        pytest.raises(ProviderUnavailable, match="limits"),
    ):
        client.api_usage()


def test_what_a_batch_held_is_gone_with_it() -> None:
    # Without the garbage collector, which comes by rarely while large bodies pass through.
    body = json.dumps(entry(history(date(2022, 12, 28), 4999))).encode()

    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=iter([body[:1000], body[1000:]]))

    transport = httpx.MockTransport(handle)
    with TwelveData("http://provider", SecretStr("k"), transport=transport) as client:
        fetch = partial(Refresh(client).only, Asset("AAPL"))
        fetch()
        gc.disable()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(4):
                fetch()
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
            gc.enable()
    assert len(body) > 400_000
    assert kept < 200_000
