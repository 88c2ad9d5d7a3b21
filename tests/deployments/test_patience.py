"""A run whose Prefect server is away: as it begins, in its midst, and behind a proxy."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.worker import engine, patience
from deployments.worker.patience import Patience
from tests.relay import Relay

# Prefect's client, by itself, would look again after some 2, 6 and 14 seconds.
AWAY_SECONDS = 8.0
SOON_SECONDS = 5.0


@contextmanager
def taken() -> Iterator[int]:
    """A port that is ours, and on which nobody listens yet."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_run_goes_on_soon_after_the_server_is_back(prefect_api: str) -> None:
    api = httpx.URL(prefect_api)
    relays: list[Relay] = []

    def back() -> None:
        relays.append(Relay((api.host, api.port or 80), port))

    with taken() as port:
        ours = f"http://127.0.0.1:{port}{api.path}"
        timers = [Timer(2, back), Timer(AWAY_SECONDS, back)]
        timers[0].start()
        try:
            with (
                temporary_settings({PREFECT_API_URL: ours}),
                engine._settings(),
                engine._client() as client,
            ):
                assert client.hello().status_code == 200
                relays[0].close()
                timers[1].start()
                began = time.monotonic()
                assert client.hello().status_code == 200
                assert time.monotonic() - began < AWAY_SECONDS + SOON_SECONDS
        finally:
            for timer in timers:
                timer.cancel()
                if timer.ident is not None:
                    timer.join()
            for relay in relays:
                relay.close()


def answers(*given: httpx.Response | Exception) -> Patience:
    """Patience with a server that answers so, one after the other."""
    left = list(given)

    def send(_: httpx.Request) -> httpx.Response:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Patience(send, READY)


REQUEST = httpx.Request("GET", "http://prefect/api/health")
READY = httpx.Request("GET", "http://prefect/api/ready")


def test_a_proxy_that_finds_no_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PAUSE_SECONDS", 0)
    gone = [httpx.Response(502), httpx.ConnectError("refused"), httpx.Response(503)]
    assert answers(*gone, httpx.Response(200))(REQUEST).status_code == 200
    later = httpx.Response(503, headers={"Retry-After": "3"})
    assert answers(later, httpx.Response(200))(REQUEST) is later


def test_a_server_without_its_database_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PAUSE_SECONDS", 0)
    error, unready, ready = httpx.Response(500), httpx.Response(503), httpx.Response(200)
    away = [error, unready] * 20 + [error, httpx.ConnectError("refused")]
    back = [error, ready] * 2
    assert answers(*away, *back, httpx.Response(201))(REQUEST).status_code == 201
    assert answers(*[error, ready] * 6, httpx.Response(201))(REQUEST) is error


def test_of_one_outage_it_is_patient_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(patience, "_SECONDS", -1)
    refused = httpx.ConnectError("refused")
    waiting = answers(refused, refused, httpx.Response(200), httpx.Response(503))
    for _ in range(2):
        with pytest.raises(httpx.ConnectError):
            waiting(REQUEST)
    assert [waiting(REQUEST).status_code for _ in range(2)] == [200, 503]
