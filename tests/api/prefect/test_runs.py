"""What is Prefect's alone: foreign runs, races, and a server that is away, slow or unwilling."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr

from api.prefect import deployment_cache
from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from api.tasks.runner import Kind, OutcomeUnknown, Overload, Query, TaskUnknown
from autoindex.errors import ConfigurationError, PartUnavailable
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(
    url: str, seconds: float = 4.0, **more: SecretStr
) -> AsyncIterator[PrefectRunner]:
    connection = Connection.model_validate({"url": url, **more})
    runner = PrefectRunner(connection, answer_seconds=seconds)
    yield runner
    await runner.aclose()


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says the same to everything, nothing at all, or b"" and hangs up.

    And what it was asked.
    """
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is not None:
            writer.write(answer)
            await writer.drain()
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/api", asked
    server.close()


def says(status: str, body: bytes = b"{}") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nretry-after: 30\r\n\r\n"
    return head.encode() + body


CALLS: dict[str, Callable[[PrefectRunner], Awaitable[object]]] = {
    "start": lambda runner: runner.start(Kind.REFRESH, {}, user="ada"),
    "read": lambda runner: runner.read(UUID(int=1)),
    "cancel": lambda runner: runner.cancel(UUID(int=1), user="ada"),
    "search": lambda runner: runner.search(Query(), page=1, per_page=10),
    "activity": lambda runner: runner.activity(),
    "workers": lambda runner: runner.pool.workers(),
    "missing": lambda runner: runner.missing(),
}


PAGES = {
    "page": "200 OK\r\ncontent-type: text/html",
    "no such page": "404 Not Found\r\ncontent-type: text/html",
    "page elsewhere": "302 Found\r\nlocation: /login",
    "bad JSON": "200 OK\r\ncontent-type: application/json",
    "bad encoding": "200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip",
    "other JSON": "201 Created",
}
TROUBLES = ("refused", "hangs up", "503", "500", "429", "401", *PAGES)


@pytest.mark.parametrize(
    ("call", "error"),
    [*((call, error) for call in CALLS for error in TROUBLES), ("read", "silent")],
)
async def test_trouble_is_told_and_nothing_is_tried_twice(call: str, error: str) -> None:
    replies = {
        "503": says("503 Service Unavailable"),
        "500": says("500 Internal Server Error"),
        "429": says("429 Too Many Requests"),
        "401": says("401 Unauthorized"),
        "hangs up": b"",
        "silent": None,
        **{name: says(status, b"<html>") for name, status in PAGES.items()},
        "other JSON": says(PAGES["other JSON"], b'{"status": "maintenance"}'),
    }
    async with answering(replies.get(error)) as (url, asked):
        async with connected(
            "http://127.0.0.1:1/api" if error == "refused" else url,
            seconds=0.5 if error == "silent" else HANG_SECONDS,
        ) as runner:
            with pytest.raises(PartUnavailable, match="Prefect"):
                await CALLS[call](runner)
        # The names of four deployments are asked for at once.
        assert len(asked) <= 4


@asynccontextmanager
async def answering_in_turn(seconds: float) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that knows nothing and takes so long for each request in turn, until it stops."""
    turn, stop = asyncio.Lock(), asyncio.Event()
    talks: set[asyncio.Task[None] | None] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                async with turn:
                    if not stop.is_set():
                        await asyncio.sleep(seconds)
                        writer.write(says("404 Not Found"))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api", stop
    server.close()
    await asyncio.gather(*(talk for talk in talks if talk))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_busy_server_is_waited_for_in_turn() -> None:
    ended: list[int] = []

    async def read(runner: PrefectRunner, number: int) -> None:
        with pytest.raises(TaskUnknown):
            await runner.read(UUID(int=number))
        ended.append(number)

    async with answering_in_turn(0.05) as (url, _), connected(url, seconds=HANG_SECONDS) as runner:
        assert not runner.is_busy()
        began = time.monotonic()
        reads = [asyncio.create_task(read(runner, number)) for number in range(80)]
        await until(runner.is_busy)
        assert await runner.pool.workers() == []
        assert len(ended) < 60, "what the facade asks for itself does not wait in line"
        await asyncio.gather(*reads)
        assert time.monotonic() - began > 3
        assert not runner.is_busy()
    assert all(abs(number - place) <= 12 for place, number in enumerate(ended))


@pytest.mark.parametrize(
    ("error", "unsure"),
    [
        ("500 Internal Server Error", True),
        ("", True),
        (PAGES["page"], True),
        (PAGES["other JSON"], True),
        ("429 Too Many", False),
        (None, False),
    ],
)
async def test_a_start_that_was_heard_is_told_from_one_that_was_not(
    prefect_url: str, monkeypatch: pytest.MonkeyPatch, error: str | None, unsure: bool
) -> None:
    monkeypatch.setattr(deployment_cache, "OLD_SECONDS", 3_600.0)
    async with (
        connected(prefect_url, seconds=HANG_SECONDS) as runner,
        answering(says(error) if error else b"") as (url, _),
    ):
        await runner.missing()  # the deployments are known from here on
        runner._rest._url = httpx.URL("http://127.0.0.1:1/api" if error is None else url)
        with pytest.raises(PartUnavailable) as told:
            await runner.start(Kind.REPORT, {}, user="ada")
    assert isinstance(told.value, OutcomeUnknown) is unsure


async def test_who_waits_in_line_for_too_long_asks_nothing() -> None:
    async with (
        answering(says("404 Not Found")) as (url, asked),
        connected(url, seconds=HANG_SECONDS) as runner,
    ):
        slots = runner._rest._slots
        runner._rest._answer_seconds = 0.05
        async with AsyncExitStack() as held:
            while not slots.locked():
                await held.enter_async_context(slots)
            with pytest.raises(Overload):
                await runner.cancel(UUID(int=1), user="ada")
        assert not asked
        runner._rest._answer_seconds = HANG_SECONDS
        with pytest.raises(TaskUnknown):
            await runner.cancel(UUID(int=1), user="ada")


async def test_a_server_that_falls_silent_is_not_busy() -> None:
    async with answering_in_turn(0.05) as (url, stop), connected(url, seconds=1) as runner:
        reads = [asyncio.create_task(runner.read(UUID(int=n))) for n in range(80)]
        await until(runner.is_busy)
        stop.set()
        await until(lambda: not runner.is_busy())
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def test_somebody_elses_run_is_unknown(prefect_url: str) -> None:
    async with httpx.AsyncClient(
        base_url=prefect_url, timeout=HANG_SECONDS, trust_env=False
    ) as client:
        found = await client.get("/deployments/name/somebody-elses/foreign")
        path = f"/deployments/{found.json()['id']}/create_flow_run"
        foreign = await client.post(path, json={"tags": ["autoindex", "refresh"]})
        flow = (await client.post("/flows/", json={"name": "by-hand"})).json()["id"]
        by_hand = await client.post("/flow_runs/", json={"flow_id": flow, "tags": ["autoindex"]})
    async with connected(prefect_url, seconds=30) as runner:
        for run in (foreign, by_hand):
            assert run.is_success
            with pytest.raises(TaskUnknown):
                await runner.read(UUID(run.json()["id"]))
            with pytest.raises(TaskUnknown):
                await runner.cancel(UUID(run.json()["id"]), user="ada")
        listed = await runner.search(Query(), page=1, per_page=200)
        foreign_ids = {foreign.json()["id"], by_hand.json()["id"]}
        assert foreign_ids.isdisjoint(str(task.id) for task in listed.tasks)


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_run_is_what_prefect_makes_of_the_deployment(prefect_url: str, keyed: bool) -> None:
    async with (
        connected(prefect_url, seconds=30) as runner,
        httpx.AsyncClient(base_url=prefect_url, timeout=HANG_SECONDS, trust_env=False) as client,
    ):
        deployment = (await client.get("/deployments/name/generate-report/report")).json()["id"]
        ours_key, their_key = (uuid4().hex if keyed else None for _ in range(2))
        asked = {
            "parameters": {"format": "excel"},
            "tags": ["user:ada", "request:7"],
            "idempotency_key": their_key,
        }
        path = f"/deployments/{deployment}/create_flow_run"
        theirs = (await client.post(path, json=asked)).raise_for_status().json()
        started = await runner.start(
            Kind.REPORT,
            {"format": "excel"},
            user="ada",
            tags=["request:7"],
            idempotency_key=ours_key,
        )
        ours = (await client.get(f"/flow_runs/{started.task.id}")).json()
    assert set(ours["tags"]) == {"autoindex", "report", "user:ada", "request:7"}
    assert ours["work_pool_name"] == "autoindex"
    assert ours["idempotency_key"] == ours_key
    its_own = {"id", "name", "created", "updated", "state_id", "state", "tags", "idempotency_key"}
    not_said_by_us = {"deployment_version"}
    alike = {
        field
        for field in set(theirs) - its_own - not_said_by_us
        if not field.endswith(("_time", "_delta"))
    }
    assert {"parameters", "job_variables", "labels", "work_queue_id", "flow_id"} <= alike
    assert {field: ours[field] for field in alike} == {field: theirs[field] for field in alike}
    assert set(theirs["tags"]) <= set(ours["tags"])


async def test_deployments_made_anew_are_found_again(
    prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        connected(prefect_url, seconds=30) as runner,
        httpx.AsyncClient(base_url=prefect_url, timeout=HANG_SECONDS, trust_env=False) as client,
    ):
        await runner.start(Kind.CLEANUP, {}, user="ada")
        assert await runner.missing() == []
        monkeypatch.setattr(deployment_cache, "OLD_SECONDS", 0.0)
        old = (await client.get("/deployments/name/cleanup/cleanup")).json()
        assert (await client.delete(f"/deployments/{old['id']}")).is_success
        with pytest.raises(PartUnavailable, match=r"cleanup/cleanup is missing.*bootstrap"):
            await runner.start(Kind.CLEANUP, {}, user="ada")
        # One that is missing is looked for each time.
        monkeypatch.setattr(deployment_cache, "OLD_SECONDS", 3_600.0)
        assert await runner.missing() == [Kind.CLEANUP]
        of_no_pool = {name: old[name] for name in ("name", "flow_id", "tags")}
        assert (await client.post("/deployments/", json=of_no_pool)).is_success
        with pytest.raises(PartUnavailable, match=r"cleanup/cleanup has no work queue.*bootstrap"):
            await runner.start(Kind.CLEANUP, {}, user="ada")
        assert await runner.missing() == [Kind.CLEANUP]
        whole = {**of_no_pool, "work_pool_name": old["work_pool_name"]}
        assert (await client.post("/deployments/", json=whole)).is_success
        assert (await runner.start(Kind.CLEANUP, {}, user="ada")).new
        assert await runner.missing() == []


async def test_a_flow_that_is_gone_is_named(prefect_url: str) -> None:
    async with connected(prefect_url, seconds=30) as runner:
        await runner.start(Kind.CLEANUP, {}, user="ada")
        deployment = await runner._deployments.of(Kind.CLEANUP)
        deployment.flow_id = uuid4()
        with pytest.raises(PartUnavailable, match=r"flow or the work queue of cleanup tasks"):
            await runner.start(Kind.CLEANUP, {}, user="ada")


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({"auth_string": SecretStr("admin:pass:word")}, b"Basic YWRtaW46cGFzczp3b3Jk"),
        ({"key": SecretStr("pnu_key")}, b"Bearer pnu_key"),
    ],
)
async def test_prefects_own_authentication_is_used(
    given: dict[str, SecretStr], header: bytes
) -> None:
    async with answering(says("404 Not Found")) as (url, asked), connected(url, **given) as runner:
        with pytest.raises(TaskUnknown):
            await runner.read(UUID(int=1))
    assert b"authorization: " + header.lower() in asked[0].lower()


def test_without_an_address_it_does_not_start() -> None:
    with pytest.raises(ConfigurationError, match="PREFECT_API_URL is not set"):
        PrefectRunner(Connection(url=None), answer_seconds=4.0)


def test_an_address_that_is_none_is_named_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="PREFECT_API_URL is not a URL") as refused:
        PrefectRunner(Connection(url="http://me:hunter2@127.0.0.1:42x0/api"), answer_seconds=4.0)
    assert "hunter2" not in str(refused.value)


async def test_credentials_in_the_address_are_used() -> None:
    async with (
        answering(says("404 Not Found")) as (url, asked),
        connected(url.replace("://", "://me:hunter%202@")) as runner,
    ):
        with pytest.raises(TaskUnknown):
            await runner.read(UUID(int=1))
    assert b"authorization: basic " + b64encode(b"me:hunter 2").lower() in asked[0].lower()


async def test_a_queued_run_says_what_it_is_and_whose(prefect_url: str) -> None:
    async with (
        connected(prefect_url, seconds=30) as runner,
        httpx.AsyncClient(base_url=prefect_url, timeout=HANG_SECONDS, trust_env=False) as client,
    ):
        started = await runner.start(Kind.REPORT, {"report_type": "daily"}, user="ada")
        run = (await client.get(f"/flow_runs/{started.task.id}")).json()
    assert run["name"] == "report requested by ada"


async def test_runs_of_equal_time_are_in_the_order_of_their_ids(prefect_url: str) -> None:
    async with (
        connected(prefect_url, seconds=30) as runner,
        httpx.AsyncClient(base_url=prefect_url, timeout=HANG_SECONDS, trust_env=False) as client,
    ):
        deployment = (await client.get("/deployments/name/cleanup/cleanup")).json()["id"]
        path, user = f"/deployments/{deployment}/create_flow_run", f"ada-{uuid4().hex[:8]}"
        noon = datetime.now(UTC).replace(hour=0, minute=0, second=0) - timedelta(days=1)
        for hours in (0, 1, 1, 1, 1, 1, 1, 1, 2):
            due = (noon + timedelta(hours=hours)).isoformat()
            state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
            made = await client.post(path, json={"state": state, "tags": [f"user:{user}"]})
            assert made.is_success
        found = (await runner.search(Query(user=user), page=1, per_page=20)).tasks
    assert len(found) == 9
    assert list(found) == sorted(found, key=lambda task: (task.due_at, task.id), reverse=True)
