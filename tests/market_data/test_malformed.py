"""Whatever a provider sends, over a real connection: our errors or valid bars, nothing else."""

import json
import socket
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, date, datetime
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import Engine, text

from autoindex import sessions
from autoindex.errors import AutoindexError, ProviderUnavailable
from autoindex.market_data import fetch_plan
from autoindex.market_data.client import TwelveData
from autoindex.market_data.paging import BatchReply
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from tests.market_data.stage import Asset

NOW = datetime(2022, 12, 28, 22, tzinfo=UTC)
NEWEST = date(2022, 12, 20)
DAYS = [f"2022-12-{day}" for day in (28, 27, 23, 22, 21, 20, 19, 16, 15, 14)]


class Wire:
    """A server on a real socket that sends every caller the same bytes and hangs up."""

    def __init__(self) -> None:
        self.sent = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    asked = b""
                    while b"\r\n\r\n" not in asked and (part := connection.recv(65_536)):
                        asked += part
                    connection.sendall(self.sent)
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def good(symbol: str) -> dict[str, Any]:
    names = ("open", "high", "low", "close")
    values = [
        {"datetime": day, **dict.fromkeys(names, f"{100 + n}.5"), "volume": "1000"}
        for n, day in enumerate(DAYS)
    ]
    meta = {
        "symbol": symbol,
        "interval": "1day",
        "currency": "USD",
        "exchange": "NASDAQ",
        "mic_code": "XNGS",
        "type": "Common Stock",
    }
    return {"meta": meta, "values": values, "status": "ok"}


ERRORS = [
    {"code": 400, "message": "No data is available on the specified dates.", "status": "error"},
    {"code": 401, "message": "**apikey** parameter is incorrect", "status": "error"},
    {"code": "429", "message": "You have run out of API credits for the day.", "status": "error"},
    {"code": 404, "message": "Data not found", "status": "error", "meta": {"symbol": "AAPL"}},
    {"code": 0, "status": "error"},
    {"status": "error", "message": None},
    {"code": 500},
]
ODD: list[Any] = [
    *(
        "",
        "NaN",
        "-inf",
        "1e999",
        "0x10",
        "1_000",
        "\uff11\uff12",
        "\ud800",
        "\x00",
        "2022-02-30",
        "0000-00-00",
    ),
    *(
        "9999-12-31",
        "2022-12-28 15:30:00",
        "-5",
        "0",
        "1e-300",
        "1e300",
        "status",
        "values",
        "meta",
    ),
    *(None, True, False, 0, -1, 7, 2**63, -(2**63), 10**400, 1e308, float("nan"), float("inf")),
    *(
        [],
        {},
        [[]],
        [None],
        {"code": 429},
        {"values": []},
        {"meta": None},
        {"datetime": "2022-12-28"},
    ),
]
odd = st.sampled_from(ODD) | st.sampled_from(ERRORS) | st.text(max_size=8) | st.floats()


def nodes(tree: Any) -> list[tuple[Any, Any]]:
    """Every place in a document: its container and its key or index."""
    keys = (
        list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else []
    )
    return [place for key in keys for place in [(tree, key), *nodes(tree[key])]]


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A right answer, for one symbol or for two, with up to four things wrong in it."""
    body: Any = draw(st.sampled_from(["flat", "keyed", "error"]))
    if body == "error":
        body = deepcopy(draw(st.sampled_from(ERRORS)))
    else:
        body = good("AAPL") if body == "flat" else {"AAPL": good("AAPL"), "AMD": good("AMD")}
    for _ in range(draw(st.integers(0, 4))):
        places = nodes(body)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        _spoil(draw, container, key)
    return body


def _spoil(draw: st.DrawFn, container: Any, key: Any) -> None:
    how = draw(st.sampled_from(["replace", "remove", "copy", "rename"]))
    if how == "remove":
        del container[key]
    elif how == "replace" or not isinstance(container, list | dict):
        container[key] = deepcopy(draw(odd))
    elif isinstance(container, list):
        container.insert(draw(st.integers(0, len(container))), deepcopy(container[key]))
    else:
        name = draw(st.sampled_from(["AMD", "status", "values", "code", "close", ""]))
        container[name] = deepcopy(container[key])


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """What goes over the wire: mostly whole, sometimes cut, garbled or mislabelled."""
    document = draw(documents())
    body = json.dumps(document).encode("ascii" if draw(st.booleans()) else "utf-16")
    if draw(st.integers(0, 4)) == 0:
        body = draw(st.sampled_from([body[: len(body) // 2], body + b"}", b"\xef\xbb\xbf" + body]))
    if draw(st.integers(0, 4)) == 0 and body:
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1 :]
    status = draw(st.sampled_from([200] * 6 + [204, 302, 400, 401, 404, 414, 429, 500, 502]))
    length = draw(st.sampled_from([len(body)] * 8 + [0, 10, len(body) + 5, -1]))
    extra = draw(
        st.sampled_from(
            [b"Api-Credits-Used: 3\r\nApi-Credits-Request: 2\r\n"] * 4
            + [b"", b"Content-Encoding: gzip\r\n", b"Api-Credits-Request: 99999999999999\r\n"]
            + [b"Transfer-Encoding: chunked\r\n", b"no header\r\n", b"Is_batch: true\r\n"]
        )
    )
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n"
    return head.encode() + extra + b"\r\n" + body


def fetched(wire: Wire, batch: fetch_plan.Batch) -> BatchReply | None:
    """What the client makes of it; None for one of our errors."""
    try:
        with TwelveData(wire.url, SecretStr("k3y"), timeout_seconds=5) as client:
            return client.fetch(batch)
    except AutoindexError:
        return None


def check(reply: BatchReply) -> None:
    """No bad row among the bars, and every symbol accounted for once."""
    for one in reply.fetched:
        made = one.bars
        values = np.array([made.open, made.high, made.low, made.close])
        assert np.isfinite(values).all()
        assert (values > 0).all()
        for price in (made.open, made.close):
            assert ((made.low <= price) & (price <= made.high)).all()
        assert (np.diff(made.sessions).astype(int) > 0).all()
        known = sessions.between(one.due.start, one.due.end).to_numpy().astype("datetime64[D]")
        assert np.isin(made.sessions, known).all()
        assert (made.volume >= -1).all()
    named = [one.due.symbol for one in reply.fetched]
    named += [one.symbol for one in reply.refused] + list(reply.unavailable)
    assert sorted(named) == sorted(set(named))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=answers(), single=st.booleans())
@example(sent=b"", single=True)
@example(sent=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", single=False)
@example(sent=b"not http at all\r\n\r\n", single=True)
def test_a_malformed_answer_is_an_error_of_ours_or_leaves_sane_bars(
    wire: Wire, sent: bytes, *, single: bool
) -> None:
    wire.sent = sent
    listings = [Asset("AAPL")] if single else [Asset("AAPL"), Asset("AMD")]
    due = fetch_plan.due_symbols(listings, {one.symbol: NEWEST for one in listings}, NOW)
    (batch,) = fetch_plan.batches(due, 610)
    reply = fetched(wire, batch)
    if reply is not None:
        check(reply)
        assert len(reply.fetched) + len(reply.refused) + len(reply.unavailable) == len(listings)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents())
def test_what_is_left_of_it_can_be_stored(engine: Engine, wire: Wire, document: Any) -> None:
    body = json.dumps(document).encode()
    wire.sent = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    names = ("AAPL", "AMD")
    rows = [UniverseRow(symbol=n, exchange="NASDAQ", currency="USD", name=n) for n in names]
    due = fetch_plan.due_symbols([Asset(n) for n in names], dict.fromkeys(names, NEWEST), NOW)
    (batch,) = fetch_plan.batches(due, 610)
    reply = fetched(wire, batch)
    with engine.connect() as connection, connection.begin() as transaction:
        import_universe(connection, rows)
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        bars = [one.bars for one in reply.fetched] if reply else []
        stored_prices.upsert(connection, bars, ids)
        bad = text(
            "select count(*) from prices where not (least(open, high, low, close) > 0 "
            "and greatest(open, high, low, close) < 1e13 and high >= low)"
        )
        assert connection.execute(bad).scalar_one() == 0
        transaction.rollback()


def test_an_answer_that_never_ends_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                try:
                    while True:
                        connection.sendall(b" ")
                        connection.recv(0)
                except OSError:
                    return

        thread = Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            TwelveData(url, SecretStr("k3y"), timeout_seconds=0.3) as client,
            pytest.raises(ProviderUnavailable, match=r"too long|did not respond"),
        ):
            client.api_usage()
        thread.join()
