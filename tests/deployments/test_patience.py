"""A run whose Prefect server is away: while it begins, and in its midst."""

import time
from threading import Timer

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.worker import engine
from tests.ports import free_port
from tests.relay import Relay

AWAY_SECONDS = 5.0


def test_a_run_goes_on_soon_after_the_server_is_back(prefect_api: str) -> None:
    api, port = httpx.URL(prefect_api), free_port()
    server = (api.host, api.port or 80)
    opened: list[Relay] = []

    def back() -> None:
        opened.append(Relay(server, port))

    try:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}{api.path}"}):
            Timer(AWAY_SECONDS, back).start()
            with engine._settings(), engine._client() as client:
                assert client.hello().status_code == 200
                opened[0].close()
                Timer(AWAY_SECONDS, back).start()
                began = time.monotonic()
                assert client.hello().status_code == 200
                assert time.monotonic() - began > AWAY_SECONDS - 1  # it was away indeed
    finally:
        for relay in opened:
            relay.close()
