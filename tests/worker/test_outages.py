"""A run whose Prefect server is unavailable, and a worker that repeats a call."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tests.relay import Relay
from worker import engine, outages
from worker.outages import RetryingSend, until_available


@contextmanager
def taken() -> Iterator[int]:
    """A port that is ours, and on which nobody listens yet."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_run_looks_for_the_server_each_second_until_it_is_back(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = httpx.URL(prefect_api)
    pauses: list[float] = []
    relays: list[Relay] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) % 8 == 0:
            relays.append(Relay((api.host, api.port or 80), port))

    clock = SimpleNamespace(sleep=pause, monotonic=time.monotonic)
    monkeypatch.setattr(outages, "time", clock)
    with taken() as port:
        ours = f"http://127.0.0.1:{port}{api.path}"
        with (
            temporary_settings({PREFECT_API_URL: ours}),
            engine._settings(),
            engine._client() as client,
        ):
            for outage in (1, 2):  # as it begins, and in its midst
                assert client.hello().status_code == 200
                assert pauses == [1.0] * 8 * outage
                relays.pop().close()


def answers(*given: httpx.Response | Exception) -> RetryingSend:
    """RetryingSend with a server that answers so, one after the other."""
    left = list(given)

    def send(_: httpx.Request) -> httpx.Response:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return RetryingSend(send, READY)


REQUEST = httpx.Request("GET", "http://prefect/api/health")
READY = httpx.Request("GET", "http://prefect/api/ready")


def test_a_proxy_that_finds_no_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "RETRY_SECONDS", 0)
    gone = [httpx.Response(502), httpx.ConnectError("refused"), httpx.Response(503)]
    assert answers(*gone, httpx.Response(200))(REQUEST).status_code == 200
    later = httpx.Response(503, headers={"Retry-After": "3"})
    assert answers(later, httpx.Response(200))(REQUEST) is later


def test_a_server_without_its_database_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "RETRY_SECONDS", 0)
    error, unready, ready = httpx.Response(500), httpx.Response(503), httpx.Response(200)
    away = [error, unready] * 20 + [error, httpx.ConnectError("refused")]
    back = [error, ready] * 2
    assert answers(*away, *back, httpx.Response(201))(REQUEST).status_code == 201
    assert answers(*[error, ready] * 6, httpx.Response(201))(REQUEST) is error


def test_a_page_of_a_proxy_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "RETRY_SECONDS", 0)
    pages = [httpx.Response(status, text="<html>") for status in (200, 302, 404)]
    stream, gzip = httpx.ByteStream(b"<html>"), {"content-encoding": "gzip"}
    pages.append(httpx.Response(200, headers=gzip, stream=stream))
    assert answers(*pages, httpx.Response(404, text="{}"))(REQUEST).status_code == 404
    away = [httpx.Response(500), httpx.Response(200, text="<html>")] * 20
    assert answers(*away, httpx.Response(201))(REQUEST).status_code == 201
    assert answers(httpx.Response(401, text="<html>"))(REQUEST).status_code == 401


def test_an_outage_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "RETRY_SECONDS", 0)
    monkeypatch.setattr(outages, "LONGEST_OUTAGE_SECONDS", -1)
    refused = httpx.ConnectError("refused")
    waiting = answers(refused, refused, httpx.Response(200), httpx.Response(503))
    for _ in range(2):
        with pytest.raises(httpx.ConnectError):
            waiting(REQUEST)
    assert [waiting(REQUEST).status_code for _ in range(2)] == [200, 503]


def test_a_server_that_hangs_or_resets_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "RETRY_SECONDS", 0)
    hangs = [httpx.ReadTimeout("no answer")] * 20
    resets = [httpx.ReadError("reset"), httpx.RemoteProtocolError("disconnected")] * 20
    assert answers(*hangs, *resets, httpx.Response(200))(REQUEST).status_code == 200
    with pytest.raises(httpx.UnsupportedProtocol):
        answers(httpx.UnsupportedProtocol("no scheme"))(REQUEST)


def test_a_hang_counts_from_its_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes of time-outs are one outage of ten minutes."""
    now, sent = [0.0], [0]

    def hang(_: httpx.Request) -> httpx.Response:
        sent[0] += 1
        now[0] += 60
        raise httpx.ReadTimeout("no answer")

    clock = SimpleNamespace(sleep=lambda _: None, monotonic=lambda: now[0])
    monkeypatch.setattr(outages, "time", clock)
    with pytest.raises(httpx.ReadTimeout):
        RetryingSend(hang, READY)(REQUEST)
    assert sent == [11]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_worker_repeats_a_call_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_WORKER_RETRY_SECONDS", 0)
    server_error = httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(500))
    errors = [
        server_error,
        httpx.ConnectError("refused"),
        OperationalError("", None, Exception()),
        PoolTimeout(),
        TimeoutError("no answer within 5 s"),
    ] * 10

    async def call() -> int:
        if errors:
            raise errors.pop()
        return 1

    assert await until_available(call, "it waits") == 1
