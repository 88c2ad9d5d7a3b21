"""A Prefect server whose certificate is a private authority's: requests and events."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from uuid import UUID

import pytest
import trustme
from websockets.asyncio.server import Request, Response, ServerConnection, serve

from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from api.tasks.runner import TaskUnknown
from autoindex.errors import ConfigurationError, PartUnavailable
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


@pytest.fixture
async def url(authority: trustme.CA) -> AsyncIterator[str]:
    """A server that knows no run and has no events."""

    def no_run(connection: ServerConnection, request: Request) -> Response | None:
        if "events" in request.path:
            return None
        answer = connection.respond(HTTPStatus.NOT_FOUND, "{}")
        del answer.headers["Content-Type"]
        answer.headers["Content-Type"] = "application/json"
        return answer

    async def no_events(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(json.dumps({"type": "auth_success"}))
        await connection.wait_closed()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with serve(
        no_events, "127.0.0.1", 0, ssl=context, process_request=no_run, subprotocols=["prefect"]
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"https://127.0.0.1:{port}/api"


@pytest.fixture
async def runner(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PrefectRunner]:
    monkeypatch.setenv("PREFECT_API_SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    made = PrefectRunner(Connection(url=url), answer_seconds=HANG_SECONDS)
    yield made
    await made.aclose()


async def test_it_is_trusted_where_the_setting_names_it(runner: PrefectRunner) -> None:
    with pytest.raises(TaskUnknown):
        await runner.read(UUID(int=1))
    async with aclosing(runner.changes()) as changes:
        assert await anext(changes) is None


async def test_it_is_not_trusted_elsewhere(url: str) -> None:
    runner = PrefectRunner(Connection(url=url), answer_seconds=HANG_SECONDS)
    with pytest.raises(PartUnavailable):
        await runner.read(UUID(int=1))
    async with aclosing(runner.changes()) as changes:
        with pytest.raises(PartUnavailable):
            await anext(changes)
    await runner.aclose()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_certificates_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "none.pem"
    if content is not None:
        file.write_text(content)
    connection = Connection(url="https://prefect.example/api", ssl_cert_file=file)
    with pytest.raises(ConfigurationError, match="PREFECT_API_SSL_CERT_FILE: no certificates in"):
        PrefectRunner(connection, answer_seconds=1)
