"""Which errors are worth a retry, and what Prefect's client raises where nobody answers."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psycopg
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from sqlalchemy.exc import OperationalError, ProgrammingError

from autoindex.errors import ProviderRefused, ProviderUnavailable
from flows.attempts.transient_errors import (
    NO_ANSWER,
    PrefectError,
    PrefectStatusError,
    is_transient,
    unavailable_part,
)

_REQUEST = httpx.Request("POST", "http://prefect/api/logs")


def _answered(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("", request=_REQUEST, response=httpx.Response(status))


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (_answered(500), "Prefect"),
        (_answered(503), "Prefect"),
        (httpx.ReadTimeout("slow"), "Prefect"),
        (OperationalError("", None, psycopg.OperationalError()), "the database"),
        (ProviderUnavailable("busy"), None),
    ],
)
def test_what_is_transient(error: Exception, part: str | None) -> None:
    assert is_transient(error)
    assert unavailable_part(error) == part


@pytest.mark.parametrize(
    "error",
    [
        _answered(404),
        _answered(422),
        ProviderRefused("a bad key"),
        httpx.LocalProtocolError("Illegal header value"),
        httpx.UnsupportedProtocol("no scheme"),
        httpx.InvalidURL("no host"),
        ProgrammingError("", None, psycopg.ProgrammingError()),
        ValueError("a defect"),
    ],
)
def test_what_is_not(error: Exception) -> None:
    assert not is_transient(error)
    assert unavailable_part(error) is None


class _Prefect(BaseHTTPRequestHandler):
    """A server that answers each path with the trouble that it names."""

    released = threading.Event()

    def do_GET(self) -> None:
        trouble = self.path.split("/")[1]
        if trouble == "hang":
            self.released.wait()
        elif trouble == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.detach()
        elif trouble.isdigit():
            self.send_error(int(trouble))

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def troubles() -> Iterator[str]:
    """The address of a Prefect server that is in trouble."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Prefect) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            _Prefect.released.set()
            server.shutdown()


@contextmanager
def _client_settings(url: str) -> Iterator[None]:
    with temporary_settings(
        {
            PREFECT_API_URL: url,
            PREFECT_API_REQUEST_TIMEOUT: 1,
            PREFECT_CLIENT_MAX_RETRIES: 0,
        }
    ):
        yield


@pytest.fixture(scope="module")
def refused() -> Iterator[str]:
    """An address that refuses connections as long as this is open."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def _raised(url: str) -> Exception:
    with (
        _client_settings(url),
        get_client(sync_client=True) as client,
        pytest.raises(Exception) as caught,  # noqa: PT011 - the class is the subject
    ):
        client.hello()
    return caught.value


async def _raised_async(url: str) -> Exception:
    with _client_settings(url):
        async with get_client() as client:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - the class is the subject
                await client.hello()
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", ["refused", "hang", "reset", "close"])
async def test_prefect_s_client_raises_what_is_known_as_no_answer(
    trouble: str, troubles: str, refused: str
) -> None:
    url = refused if trouble == "refused" else f"{troubles}/{trouble}"
    for error in (_raised(url), await _raised_async(url)):
        assert isinstance(error, NO_ANSWER)
        assert isinstance(error, PrefectError)
        assert is_transient(error)
        assert unavailable_part(error) == "Prefect"


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "transient"), [(500, True), (503, True), (422, False)])
async def test_prefect_s_client_raises_what_is_known_as_its_error(
    status: int, transient: bool, troubles: str
) -> None:
    for error in (_raised(f"{troubles}/{status}"), await _raised_async(f"{troubles}/{status}")):
        assert isinstance(error, PrefectError)
        assert isinstance(error, PrefectStatusError)
        assert not isinstance(error, NO_ANSWER)
        assert is_transient(error) is transient
