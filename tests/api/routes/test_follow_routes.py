"""Following a task over a real socket: waiting for a change, and server-sent events."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from api.app import create_app
from api.auth import tokens
from api.routes import follow_routes
from api.routes.task_routes import PREFIX
from api.tasks import subscriptions
from api.tasks.runner import Kind
from autoindex.errors import PartUnavailable
from autoindex.settings import Settings
from autoindex.storage.runs import results, task_progress
from tests.api.answers import EVERY_SCOPE, problem
from tests.api.in_memory import InMemory, Run
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the facade over a socket."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        serve = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        token = tokens.mint(app.state.settings, "ada", EVERY_SCOPE, timedelta(minutes=5))
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{listening.getsockname()[1]}{PREFIX}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=HANG_SECONDS,
            limits=httpx.Limits(max_connections=1_000),
            trust_env=False,
        ) as client:
            yield client
        app.state.subscriptions.close()
        server.should_exit = True
        await serve


@pytest.fixture
def app(settings: Settings, runner: InMemory) -> FastAPI:
    return create_app(settings, runner)


@pytest.fixture
def watching(app: FastAPI) -> subscriptions.Subscriptions:
    found: subscriptions.Subscriptions = app.state.subscriptions
    return found


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as client:
        yield client


@pytest.fixture
def run(runner: InMemory) -> Run:
    return runner.schedule(Kind.REFRESH, {}, timedelta())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not true():
            await asyncio.sleep(0.01)


def tell(engine: Engine, change: Callable[..., None], run: Run, *values: Any) -> None:
    with engine.begin() as connection:
        change(connection, run.id, *values, datetime.now(UTC))


class TestWaiting:
    async def test_it_is_answered_by_the_change_it_waits_for(
        self, http: httpx.AsyncClient, watching: subscriptions.Subscriptions, run: Run
    ) -> None:
        waiting = asyncio.create_task(http.get(f"/status/{run.id}", params={"wait": 60}))
        await until(lambda: watching.followers == 1)
        assert not waiting.done()
        run.move("RUNNING")
        answer = await waiting
        assert answer.json()["status"] == "started"
        assert answer.headers["retry-after"]

    async def test_progress_is_a_change(
        self,
        http: httpx.AsyncClient,
        watching: subscriptions.Subscriptions,
        run: Run,
        api_engine: Engine,
    ) -> None:
        run.move("RUNNING")
        known = (await http.get(f"/status/{run.id}")).headers["etag"]
        waiting = asyncio.create_task(
            http.get(f"/status/{run.id}", params={"wait": 60}, headers={"If-None-Match": known})
        )
        await until(lambda: watching.followers == 1)
        tell(api_engine, task_progress.count, run, 3, 21, "symbols fetched")
        told = (await waiting).json()["progress"]
        assert (told["completed"], told["total"], told["what"]) == (3, 21, "symbols fetched")

    async def test_what_changed_since_the_known_answer_is_told_at_once(
        self, http: httpx.AsyncClient, run: Run
    ) -> None:
        known = (await http.get(f"/status/{run.id}")).headers["etag"]
        run.move("RUNNING")
        headers = {"If-None-Match": known}
        answer = await http.get(f"/status/{run.id}", params={"wait": 60}, headers=headers)
        assert answer.json()["status"] == "started"

    async def test_without_a_change_it_ends_in_time(
        self, http: httpx.AsyncClient, run: Run
    ) -> None:
        answer = await http.get(f"/status/{run.id}", params={"wait": 1})
        assert answer.json()["status"] == "pending"
        headers = {"If-None-Match": answer.headers["etag"]}
        same = await http.get(f"/status/{run.id}", params={"wait": 1}, headers=headers)
        assert (same.status_code, same.content) == (304, b"")
        assert (await http.get(f"/status/{run.id}", headers=headers)).status_code == 304

    async def test_an_ended_task_is_answered_at_once(
        self, http: httpx.AsyncClient, run: Run
    ) -> None:
        run.move("FAILED", message="no")
        answer = await http.get(f"/status/{run.id}", params={"wait": 60})
        assert answer.json()["status"] == "failure"
        assert "retry-after" not in answer.headers

    async def test_five_hundred_wait_at_once_for_few_reads(
        self, http: httpx.AsyncClient, watching: subscriptions.Subscriptions, runner: InMemory
    ) -> None:
        reads: list[int] = []
        read_many = runner.read_many

        async def counted(task_ids: Any) -> Any:
            reads.append(len(task_ids))
            return await read_many(task_ids)

        runner.read_many = counted  # type: ignore[method-assign]
        runs = [runner.schedule(Kind.REFRESH, {}, timedelta()) for _ in range(50)]
        waiting = [
            asyncio.create_task(bare_get(http, f"/status/{runs[n % 50].id}?wait=60"))
            for n in range(500)
        ]
        await until(lambda: watching.followers == 500)
        assert not any(task.done() for task in waiting)
        for one in runs:
            one.move("COMPLETED")
        answers = await asyncio.gather(*waiting)
        assert {answer["status"] for answer in answers} == {"success"}
        # Each task was read for those who came, and once more when it had changed.
        assert len(reads) < 500 / 2
        await until(lambda: watching.followers == 0)

    async def test_who_leaves_is_followed_no_more(
        self, http: httpx.AsyncClient, watching: subscriptions.Subscriptions, run: Run
    ) -> None:
        waiting = asyncio.create_task(http.get(f"/status/{run.id}", params={"wait": 60}))
        await until(lambda: watching.followers == 1)
        waiting.cancel()
        await until(lambda: watching.followers == 0)

    async def test_nobody_takes_all_the_room(
        self,
        http: httpx.AsyncClient,
        watching: subscriptions.Subscriptions,
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(subscriptions, "MOST_FOLLOWERS_A_USER", 1)
        waiting = asyncio.create_task(http.get(f"/status/{run.id}", params={"wait": 60}))
        await until(lambda: watching.followers == 1)
        refused = await http.get(f"/status/{run.id}", params={"wait": 60})
        assert "without `wait`" in problem(refused, 429)["detail"]
        assert (await http.get(f"/status/{run.id}")).status_code == 200
        waiting.cancel()

    async def test_trouble_is_told_to_those_who_wait(
        self,
        http: httpx.AsyncClient,
        watching: subscriptions.Subscriptions,
        runner: InMemory,
        run: Run,
    ) -> None:
        waiting = asyncio.create_task(http.get(f"/status/{run.id}", params={"wait": 60}))
        await until(lambda: watching.followers == 1)

        async def away(_: Any) -> Any:
            raise PartUnavailable("Prefect")

        runner.read_many = away  # type: ignore[method-assign]
        run.move("RUNNING")
        assert "Prefect" in problem(await waiting, 503)["detail"]


async def bare_get(http: httpx.AsyncClient, path: str) -> Any:
    """A request without a client's own work: hundreds of them share this process."""
    reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    authorization = http.headers["authorization"]
    head = f"GET {PREFIX}{path} HTTP/1.1\r\nHost: facade\r\nConnection: close\r\n"
    writer.write(f"{head}Authorization: {authorization}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    return json.loads(answer.partition(b"\r\n\r\n")[2])


class TestEvents:
    async def test_a_task_is_told_from_beginning_to_end(
        self, http: httpx.AsyncClient, run: Run, api_engine: Engine
    ) -> None:
        async with listening(http, run) as stream:
            assert (await anext(stream))["event"] == "status"
            run.move("RUNNING")
            assert (await anext(stream))["data"]["status"] == "started"
            tell(api_engine, task_progress.enter, run, "fetch")
            assert (await anext(stream))["data"]["progress"]["step"] == "fetch"
            for number in (1, 2):
                tell(api_engine, task_progress.say, run, "info", f"stored {number}")
            lines = [await anext(stream), await anext(stream)]
            assert [(one["event"], one["id"], one["data"]["text"]) for one in lines] == [
                ("line", "1", "stored 1"),
                ("line", "2", "stored 2"),
            ]
            with api_engine.begin() as connection:
                now = datetime.now(UTC)
                results.store(connection, run.id, "refresh", {"n": 7}, now, timedelta(hours=1))
            run.move("COMPLETED")
            rest = [event async for event in stream]
        assert [event["event"] for event in rest[-2:]] == ["status", "end"]
        assert (rest[-2]["data"]["status"], rest[-2]["data"]["result"]) == ("success", {"n": 7})
        assert rest[-1]["data"]["reason"] == "the task has ended"

    async def test_it_goes_on_after_the_last_line_that_arrived(
        self, http: httpx.AsyncClient, run: Run, api_engine: Engine
    ) -> None:
        run.move("RUNNING")
        for number in range(1, 5):
            tell(api_engine, task_progress.say, run, "info", f"line {number}")
        run.move("CANCELLED")
        async with listening(http, run, last="2") as stream:
            found = [(event["event"], event["id"]) async for event in stream]
        assert found == [("status", "2"), ("line", "3"), ("line", "4"), ("end", "4")]
        async with listening(http, run, last="4") as stream:
            assert [event["event"] async for event in stream] == ["status", "end"]

    async def test_what_there_is_not_is_no_stream(self, http: httpx.AsyncClient, run: Run) -> None:
        problem(await http.get(f"/status/{uuid4()}/events"), 404)
        headers = {"Last-Event-ID": "x"}
        refused = await http.get(f"/status/{run.id}/events", headers=headers)
        assert problem(refused, 422)["errors"][0]["field"] == "last-event-id"
        bare = httpx.AsyncClient(base_url=http.base_url, trust_env=False)
        problem(await bare.get(f"/status/{run.id}/events"), 401)
        await bare.aclose()

    async def test_it_shows_that_it_lives_and_ends_with_its_life(
        self, http: httpx.AsyncClient, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(follow_routes, "HEARTBEAT_SECONDS", 0.05)
        monkeypatch.setattr(follow_routes, "LIFE_SECONDS", 2.0)
        answer = await http.get(f"/status/{run.id}/events")
        assert answer.text.startswith("retry: 2000\n\n")
        assert ": keep-alive\n\n" in answer.text
        assert answer.text.endswith('data: {"reason": "connect again"}\nid: 0\n\n')

    async def test_trouble_is_told_and_the_stream_goes_on(
        self, http: httpx.AsyncClient, runner: InMemory, run: Run
    ) -> None:
        read_many = runner.read_many

        async def away(_: Any) -> Any:
            raise PartUnavailable("Prefect")

        async with listening(http, run) as stream:
            await anext(stream)
            runner.read_many = away  # type: ignore[method-assign]
            run.move("RUNNING")
            assert (await anext(stream))["event"] == "unavailable"
            runner.read_many = read_many  # type: ignore[method-assign]
            assert (await anext(stream))["data"]["status"] == "started"

    async def test_who_leaves_is_told_no_more(
        self, http: httpx.AsyncClient, watching: subscriptions.Subscriptions, run: Run
    ) -> None:
        async with listening(http, run) as stream:
            await anext(stream)
            assert watching.followers == 1
        await until(lambda: watching.followers == 0)


@asynccontextmanager
async def listening(
    http: httpx.AsyncClient, run: Run, last: str | None = None
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Server-sent events, as a browser parses them; comments are left out."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with http.stream("GET", f"/status/{run.id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parsed(answer)


async def parsed(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    async for text in answer.aiter_lines():
        name, _, value = text.partition(": ")
        if text and name:
            event[name] = json.loads(value) if name == "data" else value
        elif "data" in event:
            yield event
            event = {}


async def test_a_lost_hint_costs_seconds_and_not_the_change(
    settings: Settings, runner: InMemory, run: Run
) -> None:
    run.changed = lambda _: None
    app = create_app(settings, runner)
    async with serving(app) as http:
        waiting = asyncio.create_task(http.get(f"/status/{run.id}", params={"wait": 60}))
        await until(lambda: app.state.subscriptions.followers == 1)
        run.move("RUNNING")
        assert (await waiting).json()["status"] == "started"
