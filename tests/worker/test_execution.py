"""A worker whose Prefect accepts requests and never answers, or answers only with errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_API_URL, temporary_settings
from sqlalchemy.ext.asyncio import create_async_engine

from worker import POOL, autoindex_worker, execution
from worker.autoindex_worker import AutoindexWorker
from worker.configuration import AutoindexJobConfiguration
from worker.execution import Executor
from worker.launcher import Launcher
from worker.lease_manager import LeaseManager
from worker.outages import Outages
from worker.run_limits import Supervisor

pytestmark = pytest.mark.anyio
ERROR = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def prefect(answer: bytes | None) -> AsyncIterator[None]:
    """A server that gives this answer to each request, or none."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while answer is not None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
        await done.wait()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    # No time-out of the client, so that the worker's own is the one that ends a hang.
    with temporary_settings({PREFECT_API_URL: url, PREFECT_API_REQUEST_TIMEOUT: 3600}):
        yield
    # First, so that no connection comes that nobody closes.
    server.close()
    done.set()
    while tasks:
        await tasks.pop()


async def _holds() -> None:
    """No pooler is in between."""


@pytest.mark.parametrize("answer", [None, ERROR], ids=["hangs", "errors"])
async def test_the_time_in_which_prefect_does_not_answer_is_an_outage(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_ANSWER_SECONDS", 1.0)
    engine, outages = create_async_engine("postgresql+psycopg://"), Outages()
    lease_manager = LeaseManager(engine, "one", timedelta(seconds=30), outages, _holds)
    async with prefect(answer), get_client() as client:
        executor = Executor(client, lease_manager, Launcher([]), outages)
        executor._runs[uuid4()] = Supervisor(AutoindexJobConfiguration(), outages)
        assert await executor._cancelling() == []
    assert outages.seconds > 0


@pytest.mark.parametrize("answer", [None, ERROR], ids=["hangs", "errors"])
async def test_a_poll_that_is_not_answered_finds_no_runs(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoindex_worker, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(autoindex_worker, "_RETRY_SECONDS", 0)
    monkeypatch.setenv("AUTOINDEX_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    async with prefect(answer):
        worker = AutoindexWorker(POOL)
        async with get_client() as worker._client:
            assert await worker._get_scheduled_flow_runs() == []
