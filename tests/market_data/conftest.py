"""A real sandbox over real HTTP, in a thread; every test finds it as it was at the start."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import uvicorn
from pydantic import SecretStr

from autoindex.market_data.client import TwelveData
from sandbox import sample_prices
from sandbox.application import application
from sandbox.state import Sandbox
from tests.market_data.stage import Asset, Refresh, Switches


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """The address of a server with this sandbox."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(application(sandbox), log_level="critical")
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    with served(Sandbox(sample_prices.sample())) as url:
        yield url


@pytest.fixture
def sandbox(sandbox_url: str) -> Iterator[Switches]:
    switches = Switches(sandbox_url)
    switches.reset()
    yield switches
    switches.close()


@pytest.fixture
def client(sandbox: Switches) -> Iterator[TwelveData]:
    with TwelveData(sandbox.url, SecretStr("test"), timeout_seconds=60) as made:
        yield made


@pytest.fixture
def refresh(client: TwelveData) -> Refresh:
    return Refresh(client)


@pytest.fixture(scope="session")
def universe() -> list[Asset]:
    return [
        Asset(one.symbol, one.exchange, one.currency) for one in sample_prices.sample().values()
    ]
