"""What a client can do to a connection, over real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import uvicorn
from sqlalchemy import Engine

from api.app import create_app
from api.auth import tokens
from api.server import middleware
from api.server.http_protocol import GuardedProtocol
from api.server.idle_connections import AnonymousConnections
from api.server.middleware import LARGEST_BODY_BYTES, LARGEST_HEAD_BYTES, MOST_HEADERS
from autoindex.settings import Settings
from autoindex.storage import stored_reports
from tests.api.answers import EVERY_SCOPE
from tests.api.in_memory import InMemory
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio


class Hasty(GuardedProtocol):
    head_seconds = 2.0
    read_seconds = 2.0
    most_connections = 20
    anonymous = AnonymousConnections(most=12, most_of_one_address=8, grace_seconds=0)


class Facade:
    """A facade under uvicorn, in this loop."""

    def __init__(self, settings: Settings) -> None:
        config = uvicorn.Config(
            create_app(settings, InMemory()),
            http=Hasty,
            ws="none",
            h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
            log_level="critical",
        )
        self.server = uvicorn.Server(config)
        token = tokens.mint(settings, "ada", EVERY_SCOPE, timedelta(hours=1))
        self.head = f"Host: facade\r\nAuthorization: Bearer {token}\r\n".encode()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return await asyncio.open_connection("127.0.0.1", port)

    async def say(self, *sent: bytes) -> bytes:
        """All that comes back until the facade closes the connection."""
        reader, writer = await self.connect()
        for part in sent:
            writer.write(part)
        heard = await reader.read()
        writer.close()
        return heard

    async def answers(self) -> bool:
        heard = await self.say(b"GET /health HTTP/1.1\r\nHost: facade\r\nConnection: close\r\n\r\n")
        return heard.startswith(b"HTTP/1.1 200")

    async def without_connections(self) -> None:
        while self.server.server_state.connections:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Facade]:
    facade = Facade(settings)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = asyncio.create_task(facade.server.serve([listening]))
        while not facade.server.started:
            await asyncio.sleep(0.01)
        yield facade
        facade.server.should_exit = True
        await running


@pytest.fixture
async def facade(settings: Settings) -> AsyncIterator[Facade]:
    async with serving(settings) as made:
        yield made


def problem(heard: bytes, status: int) -> str:
    """The detail of the last answer heard, which must be a problem."""
    head, _, body = heard[heard.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    assert b"content-type: application/problem+json" in head.lower()
    found = json.loads(body)
    assert found["status"] == status
    return str(found["detail"])


async def test_a_head_that_trickles_in_is_not_waited_for(facade: Facade) -> None:
    reader, writer = await facade.connect()

    async def trickle() -> None:
        for byte in b"GET /health HTTP/1.1\r\nX-Padding: " + b"x" * 10_000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    with suppress(ConnectionResetError):  # the answer is lost where another byte was under way
        assert "too long" in problem(await reader.read(), 408)
    trickling.cancel()
    writer.close()


async def test_nor_is_that_of_a_second_request(facade: Facade) -> None:
    reader, writer = await facade.connect()
    writer.write(b"GET /health HTTP/1.1\r\nHost: facade\r\n\r\n")
    assert b"200 OK" in await reader.readuntil(b'{"status":"ok"}')
    writer.write(b"GET /hea")
    assert "too long" in problem(await reader.read(), 408)
    writer.close()


async def test_who_says_nothing_is_sent_away(facade: Facade) -> None:
    problem(await facade.say(), 408)
    await facade.without_connections()


POST = b"POST /api/v1/background/refresh HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\r\n\r\n",
        b"HELO example.org\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length : 3\r\n\r\nabc",
        POST + b"X: a\r\n\tContent-Length: 3\r\n\r\nabc",
        POST + b"X: a\r\n Content-Length: 3\r\n\r\nabc",
        POST + b"X: a\nContent-Length: 3\r\n\r\nabc",
        POST + b"X: a\rContent-Length: 3\r\n\r\nabc",
        b"GET /health HTTP/1.1\nHost: a\n\n",
        b"GET http://a/health HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_a_problem(facade: Facade, sent: bytes) -> None:
    assert "not an HTTP request" in problem(await facade.say(sent), 400)
    assert await facade.answers()


async def test_too_many_fields_are_refused_before_they_are_parsed(facade: Facade) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (MOST_HEADERS + 1)
    assert "not an HTTP request" in problem(await facade.say(head, b"\r\n"), 400)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: a\r\n",
        b"GET /?" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: a\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 60_000 + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20_000,
    ],
)
async def test_a_flood_of_headers_is_refused(facade: Facade, head: bytes) -> None:
    heard = await facade.say(head, b"\r\n")
    # What has not arrived at once is cut off by the server underneath.
    assert problem(heard, 431 if b" 431 " in heard[:20] else 400)
    assert await facade.answers()


async def test_a_gigabyte_is_not_read(facade: Facade) -> None:
    post = b"POST /api/v1/background/refresh HTTP/1.1\r\n" + facade.head
    # Nothing follows what is refused: an answer may be lost where more is on its way.
    announced = await facade.say(post, b"Content-Length: 1073741824\r\n\r\n")
    assert "bytes at most" in problem(announced, 413)
    chunks = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    one_more = (b"1\r\n", b" \r\n")
    full = [chunks] * (LARGEST_BODY_BYTES // 0x10000)
    chunked = await facade.say(post, b"Transfer-Encoding: chunked\r\n\r\n", *full, *one_more)
    assert "bytes at most" in problem(chunked, 413)


async def test_a_body_that_trickles_in_is_not_waited_for(
    facade: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "_SLOWEST_BODY_SECONDS", 0.5)
    post = b"POST /api/v1/background/refresh HTTP/1.1\r\n" + facade.head
    reader, writer = await facade.connect()
    writer.write(post + b"Content-Length: 2\r\n\r\n{")
    assert b" 408 " in await reader.readline()
    writer.close()
    assert await facade.answers()


async def test_clients_that_go_away_leave_nothing_behind(facade: Facade) -> None:
    post = b"POST /api/v1/background/refresh HTTP/1.1\r\n" + facade.head
    for sent in (b"GET /hea", post, post + b"Content-Length: 50\r\n\r\n{", post + b"\r\n"):
        _, writer = await facade.connect()
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()
    await facade.without_connections()
    assert await facade.answers()


async def test_what_a_client_that_goes_has_asked_is_dropped(
    facade: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, dropped = asyncio.Event(), asyncio.Event()

    async def search(*_: object, **__: object) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            dropped.set()

    monkeypatch.setattr(InMemory, "search", search)
    _, writer = await facade.connect()
    writer.write(b"GET /api/v1/background/tasks HTTP/1.1\r\n" + facade.head + b"\r\n")
    await asked.wait()
    writer.transport.abort()
    await asyncio.wait_for(dropped.wait(), HANG_SECONDS / 10)  # sooner than any is given up
    await facade.without_connections()


async def test_who_does_not_take_an_answer_is_dropped(
    facade: Facade, settings: Settings, api_engine: Engine
) -> None:
    task_id = uuid4()
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    path: Path = settings.reports_dir / f"{task_id}.pdf"
    path.write_bytes(b"x" * 32_000_000)
    about = (date(2022, 12, 1), date(2022, 12, 28), path.name, "application/pdf")
    stored = stored_reports.StoredReport(
        task_id, "monthly", "pdf", *about, 32_000_000, "0" * 64, None, datetime.now(UTC)
    )
    with api_engine.begin() as connection:
        stored_reports.record(connection, stored)
    _, writer = await facade.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(f"GET /api/v1/reports/{task_id}/file HTTP/1.1\r\n".encode() + facade.head)
    writer.write(b"\r\n")
    while not facade.server.server_state.total_requests and not any(
        connection.flow.write_paused for connection in facade.server.server_state.connections
    ):
        await asyncio.sleep(0.01)
    await facade.without_connections()
    writer.transport.abort()
    path.unlink()


@pytest.mark.parametrize("extended", [b"2;a\rb\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0;\r0\r\n\r\n"])
async def test_a_chunks_line_ends_in_one_way_only(facade: Facade, extended: bytes) -> None:
    post = b"POST /api/v1/background/refresh HTTP/1.1\r\n" + facade.head
    chunked = post + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    problem(await facade.say(chunked + extended), 400)
    reader, writer = await facade.connect()
    for part in (chunked, b"1;a=b\r", b"\n{\r", b"\n1;c\r\n}\r\n0\r", b"\n\r\n"):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
    assert b" 202 " in await reader.readline()
    writer.close()


async def test_a_body_of_tiny_chunks_is_refused_before_it_is_read(facade: Facade) -> None:
    post = b"POST /api/v1/background/refresh HTTP/1.1\r\n" + facade.head
    chunked = post + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    problem(await facade.say(chunked + b"1\r\n \r\n" * 1_001), 400)
    few = b"4\r\n{}  \r\n" + b"1\r\n \r\n" * 900 + b"0\r\n\r\n"
    reader, writer = await facade.connect()
    writer.write(chunked + few)
    assert b" 202 " in await reader.readline()
    writer.close()


class Visitor:
    """A client with a token, on one connection."""

    def __init__(self, facade: Facade) -> None:
        self.facade = facade

    async def connect(self) -> "Visitor":
        self.reader, self.writer = await self.facade.connect()
        return self

    async def asks(self) -> bytes:
        self.writer.write(
            b"GET /api/v1/background/active HTTP/1.1\r\n" + self.facade.head + b"\r\n"
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await self.reader.readexactly(length)
        return head[:12]


async def test_idle_strangers_do_not_crowd_out_clients_with_a_token(
    facade: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hasty, "head_seconds", 60.0)
    first = await Visitor(facade).connect()
    assert await first.asks() == b"HTTP/1.1 200"
    flood = []
    for number in range(5 * Hasty.most_connections):
        flood.append(await facade.connect())
        # Some say nothing, some a part, and some ask for what needs no token or come without one.
        said = (b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", POST + b"\r\n")
        flood[-1][1].write(said[number % 4])
        if number % 20 == 0:
            newcomer = await Visitor(facade).connect()
            assert await newcomer.asks() == b"HTTP/1.1 200"
            newcomer.writer.close()
            assert await first.asks() == b"HTTP/1.1 200"
    while len(facade.server.server_state.connections) > 9:  # eight of one address, and the first
        await asyncio.sleep(0.01)
    assert await first.asks() == b"HTTP/1.1 200"
    for _, writer in flood:
        writer.transport.abort()
    first.writer.close()
    await facade.without_connections()


async def test_many_who_come_at_one_moment_are_all_answered(
    facade: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = AnonymousConnections(most=2, most_of_one_address=2, grace_seconds=HANG_SECONDS)
    monkeypatch.setattr(Hasty, "anonymous", patient)
    visitors = [await Visitor(facade).connect() for _ in range(Hasty.most_connections)]
    assert {await visitor.asks() for visitor in visitors} == {b"HTTP/1.1 200"}
    for visitor in visitors:
        visitor.writer.close()
    await facade.without_connections()


async def test_the_oldest_of_many_addresses_goes() -> None:
    class Idle:
        closed = False

        def evict(self) -> None:
            self.closed = True

    anonymous, idle = (
        AnonymousConnections(most=4, most_of_one_address=2, grace_seconds=0),
        [Idle() for _ in range(7)],
    )
    for number, one in enumerate(idle):
        anonymous.add(one, "a" if number < 3 else f"b{number}")
    assert [one.closed for one in idle] == [True] * 3 + [False] * 4
    anonymous.discard(idle[4])
    anonymous.add(Idle(), "c")
    assert not idle[3].closed
    assert anonymous.close_oldest()
    assert idle[3].closed


async def test_more_clients_than_may_are_told_so(facade: Facade) -> None:
    visitors = []
    for _ in range(Hasty.most_connections):
        visitors.append(await Visitor(facade).connect())
        assert await visitors[-1].asks() == b"HTTP/1.1 200"
    reader, writer = await facade.connect()
    assert "too many connections" in problem(await reader.read(), 503)
    writer.close()
    for visitor in visitors:
        visitor.writer.close()
    await facade.without_connections()
    assert await facade.answers()
