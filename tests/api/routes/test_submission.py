"""One task for one request, and no more tasks than may wait: on real PostgreSQL and Prefect."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Self
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, func, update

from api.app import create_app
from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from api.routes import work
from api.tasks import queue_limit
from api.tasks.runner import OutcomeUnknown, Query, TaskRunner
from autoindex.settings import Settings
from autoindex.storage import tables
from autoindex.storage.runs import idempotency, leases
from autoindex.storage.runs.idempotency import Booking
from tests.api.answers import client, problem
from tests.api.in_memory import InMemory
from tests.api.stages import PrefectStage
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio

TASKS = "/api/v1/background"
KEY = "Idempotency-Key"
REPORT = {"report_type": "daily", "format": "json"}


class Watched:
    """Notes the bookings that are made, and can die at a given step as a process would."""

    def __init__(self, runner: TaskRunner) -> None:
        self.runner = runner
        self.run_keys: list[str | None] = []
        self.dies: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)

    async def start(self, *args: Any, **kwargs: Any) -> Any:
        self.run_keys.append(kwargs["idempotency_key"])
        if self.dies == "before":
            raise asyncio.CancelledError
        started = await self.runner.start(*args, **kwargs)
        if self.dies == "after":
            raise asyncio.CancelledError
        if self.dies == "unheard":
            raise OutcomeUnknown("Prefect")
        return started


@asynccontextmanager
async def facade(settings: Settings, prefect_url: str) -> AsyncIterator[FastAPI]:
    runner = Watched(PrefectRunner(Connection(url=prefect_url), answer_seconds=HANG_SECONDS))
    app = create_app(settings, runner)  # type: ignore[arg-type]
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def app(settings: Settings, prefect_url: str) -> AsyncIterator[FastAPI]:
    async with facade(settings, prefect_url) as made:
        yield made


def unheard_of() -> dict[str, str]:
    """The body of a computation that no other test asks for."""
    number = uuid4().int
    start = f"{1900 + number % 50}-{1 + number % 11:02}-{1 + number // 7 % 28:02}"
    return {"start_date": start, "end_date": f"19{50 + number // 3 % 50}-12-{1 + number % 28:02}"}


async def post(http: httpx.AsyncClient, path: str, body: Any, key: str | None = None) -> Any:
    return await http.post(f"{TASKS}/{path}", json=body, headers={KEY: key} if key else {})


async def tasks_of(app: FastAPI, user: str) -> int:
    found = await app.state.runner.search(Query(user=user), page=1, per_page=1)
    return int(found.total)


def ids(answers: list[httpx.Response]) -> set[str]:
    assert {answer.status_code for answer in answers} == {202}, [a.text for a in answers]
    return {answer.json()["task_id"] for answer in answers}


@pytest.mark.parametrize("keyed", [True, False])
async def test_equal_requests_at_one_moment_are_one_task(
    settings: Settings, prefect_url: str, app: FastAPI, user: str, keyed: bool
) -> None:
    body, key = unheard_of(), uuid4().hex if keyed else None
    async with (
        facade(settings, prefect_url) as other,
        client(app, user) as one,
        client(other, user) as two,
    ):
        asked = (post(http, "compute-index", body, key) for http in (one, two) for _ in range(6))
        answers = await asyncio.gather(*asked)
    assert len(ids(answers)) == 1
    messages = Counter(answer.json()["message"] for answer in answers)
    assert messages["Index computation task queued"] == 1
    assert len(messages) == 2
    assert await tasks_of(app, user) == 1


async def test_one_key_for_two_requests_at_one_moment_starts_one_of_them(
    app: FastAPI, user: str
) -> None:
    key = uuid4().hex
    async with client(app, user) as http:
        bodies = [unheard_of() for _ in range(6)]
        answers = await asyncio.gather(*(post(http, "compute-index", b, key) for b in bodies))
    taken = [answer for answer in answers if answer.status_code == 202]
    assert len(taken) == 1
    for answer in answers:
        if answer not in taken:
            assert problem(answer, 409)["type"].endswith(":idempotency-key-reused")
    assert await tasks_of(app, user) == 1


async def test_a_key_stands_for_one_kind_of_task(app: FastAPI, user: str) -> None:
    key = uuid4().hex
    async with client(app, user) as http:
        first = await post(http, "compute-index", {}, key)
        other = await post(http, "refresh", {}, key)
    assert first.json()["task_id"] in problem(other, 409)["detail"]


async def test_a_key_gives_its_task_also_when_that_has_ended(
    app: FastAPI, stage: PrefectStage, user: str
) -> None:
    key, body = uuid4().hex, unheard_of()
    async with client(app, user) as http:
        first = await post(http, "compute-index", body, key)
        await stage.move(UUID(first.json()["task_id"]), "FAILED")
        again = await post(http, "compute-index", body, key)
    assert again.json() == {
        "task_id": first.json()["task_id"],
        "status": "failure",
        "message": "Index computation task was already queued with this Idempotency-Key",
    }


@pytest.mark.parametrize("left", ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"])
async def test_equal_work_is_joined_while_it_is_queued_and_no_longer(
    app: FastAPI, stage: PrefectStage, user: str, left: str
) -> None:
    body = unheard_of()
    async with client(app, user) as http, client(app, f"{user}-2") as other:
        first = await post(http, "compute-index", body)
        joined = await post(other, "compute-index", body)
        assert joined.json() == {
            "task_id": first.json()["task_id"],
            "status": "pending",
            "message": "Index computation task was already queued by an identical request",
        }
        await stage.move(UUID(first.json()["task_id"]), left)
        later = await asyncio.gather(*(post(http, "compute-index", body) for _ in range(5)))
    assert len(ids(later)) == 1
    begun = left != "PENDING"
    assert (ids(later) != ids([first])) is begun


async def test_the_order_of_symbols_makes_no_other_refresh(app: FastAPI, user: str) -> None:
    async with client(app, user) as http:
        one = await post(http, "refresh", {"symbols": ["AAPL", "JPM"], "force": True})
        other = await post(http, "refresh", {"symbols": ["JPM", "AAPL"], "force": True})
        all_ = await post(http, "refresh", {"force": True})
    assert ids([one, other]) != ids([all_])
    assert len(ids([one, other])) == 1


async def test_reports_are_made_as_often_as_they_are_asked_for(app: FastAPI, user: str) -> None:
    body = {"report_type": "weekly", "format": "json"}
    async with client(app, user) as http:
        answers = [await post(http, "generate-report", body) for _ in range(2)]
    assert len(ids(answers)) == 2


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_who_dies_before_or_after_creating_the_run_leaves_one(
    app: FastAPI, user: str, keyed: bool, when: str
) -> None:
    body, key = unheard_of(), uuid4().hex if keyed else None
    runner: Watched = app.state.runner
    async with client(app, user) as http:
        runner.dies = when
        with pytest.raises(asyncio.CancelledError):
            await post(http, "compute-index", body, key)
        runner.dies = None
        assert await tasks_of(app, user) == (1 if when == "after" else 0)
        answers = [await post(http, "compute-index", body, key) for _ in range(2)]
    assert len(ids(answers)) == 1
    assert await tasks_of(app, user) == 1
    assert len(set(runner.run_keys)) == 1


@pytest.mark.parametrize("path", ["compute-index", "generate-report"])
@pytest.mark.parametrize("keyed", [True, False])
async def test_a_request_that_may_have_made_a_task_is_told_so_and_finds_it(
    settings: Settings, user: str, path: str, keyed: bool
) -> None:
    report = {"report_type": "daily", "format": "json"}
    body = report if path == "generate-report" else unheard_of()
    key = uuid4().hex if keyed else None
    memory = InMemory()
    runner = Watched(memory)
    app = create_app(settings, runner)  # type: ignore[arg-type]
    async with (
        app.router.lifespan_context(app),
        client(app, user) as http,
        client(app, f"{user}-2") as other,
    ):
        runner.dies = "unheard"
        unsure = [await post(http, path, body, key) for _ in range(5)]
        runner.dies = None
        for answer in unsure:
            assert problem(answer, 503)["type"].endswith(":outcome-unknown")
            assert answer.headers["retry-after"]
        (made,) = memory.runs.values()
        made.begin()
        again = await post(http, path, body, key)
        assert again.json()["task_id"] == str(made.id)
        assert again.json()["status"] == "started"
        later = [await post(one, path, body) for one in (http, other)]
    assert str(made.id) not in ids(later)


async def test_a_task_of_long_ago_is_no_answer_to_a_request(settings: Settings, user: str) -> None:
    memory, body = InMemory(), unheard_of()
    runner = Watched(memory)
    app = create_app(settings, runner)  # type: ignore[arg-type]
    async with app.router.lifespan_context(app), client(app, user) as http:
        runner.dies = "unheard"
        await post(http, "compute-index", body)
        runner.dies = None
        (made,) = memory.runs.values()
        made.begin()
        made.due_at -= timedelta(minutes=6)
        again = await post(http, "compute-index", body)
    assert again.json()["task_id"] != str(made.id)


async def test_nor_is_a_task_told_of_whose_start_takes_too_long(settings: Settings) -> None:
    class Slow(InMemory):
        async def start(self, *_: Any, **__: Any) -> Any:
            await asyncio.Event().wait()

    app = create_app(settings.model_copy(update={"api_answer_seconds": 1.0}), Slow())
    async with app.router.lifespan_context(app), client(app) as http:
        answer = await post(http, "generate-report", {"report_type": "daily", "format": "json"})
    assert problem(answer, 503)["type"].endswith(":outcome-unknown")


def test_a_request_is_known_again_for_minutes_or_until_its_task_is(api_engine: Engine) -> None:
    key, task_id = uuid4().hex, uuid4()
    with api_engine.begin() as connection:
        first = idempotency.book_until_known(connection, key)
        assert idempotency.book_until_known(connection, key) == first
        idempotency.settle(connection, first, task_id)
        second = idempotency.book_until_known(connection, key)
        assert second.run_key != first.run_key
        assert second.task_id is None
        mine = update(tables.bookings).where(tables.bookings.c.key == key)
        connection.execute(mine.values(booked_at=func.now() - timedelta(minutes=4)))
        assert idempotency.book_until_known(connection, key) == second
        # A repetition does not prolong it.
        later = tables.bookings.c.booked_at - timedelta(minutes=2)
        connection.execute(mine.values(booked_at=later))
        assert idempotency.book_until_known(connection, key).run_key != second.run_key


@pytest.mark.parametrize("path", ["refresh", "compute-index"])
async def test_no_more_tasks_wait_than_may(
    settings: Settings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = InMemory()
    app = create_app(settings.model_copy(update={"queued_tasks_per_kind": 5}), runner)
    async with app.router.lifespan_context(app), client(app) as http:
        keys = [uuid4().hex for _ in range(20)]
        answers = await asyncio.gather(*(post(http, path, {}, key) for key in keys))
        taken = [key for key, a in zip(keys, answers, strict=True) if a.status_code == 202]
        assert len(taken) == len(runner.runs) == 5
        refused = next(answer for answer in answers if answer.status_code != 202)
        found = problem(refused, 429)
        assert found["type"].endswith(":queue-full")
        assert "5 " in found["detail"]
        assert int(refused.headers["retry-after"]) > 0
        # Neither a repetition nor another kind is held back.
        assert (await post(http, path, {}, taken[0])).status_code == 202
        assert (await post(http, "cleanup", {})).status_code == 202
        for run in list(runner.runs.values())[:2]:
            run.move("RUNNING")
        monkeypatch.setattr(queue_limit, "_COUNT_FULL_AGAIN_SECONDS", 0.0)
        late = [await post(http, path, {}, uuid4().hex) for _ in range(3)]
    assert [answer.status_code for answer in late] == [202, 202, 429]


async def test_tasks_for_later_have_a_limit_of_their_own(settings: Settings) -> None:
    runner = InMemory()
    app = create_app(settings.model_copy(update={"queued_tasks_per_kind": 2}), runner)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with app.router.lifespan_context(app), client(app) as http:
        body = {"run_at": later}
        answers = [await post(http, "compute-index", body, uuid4().hex) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        refused = problem(answers[-1], 429)
        assert refused["type"].endswith(":queue-full")
        assert "scheduled for later" in refused["detail"]
        assert (await post(http, "compute-index", {})).status_code == 202


async def test_a_task_is_scheduled_once_for_a_time(app: FastAPI, user: str) -> None:
    noon = datetime.now(UTC).replace(hour=12, microsecond=0) + timedelta(days=2)
    in_paris = noon.astimezone(timezone(timedelta(hours=1))).isoformat()
    body = unheard_of()
    async with client(app, user) as http, client(app, f"{user}-2") as other:
        now = await post(http, "compute-index", body)
        first = await post(http, "compute-index", {**body, "run_at": noon.isoformat()})
        joined = await post(other, "compute-index", {**body, "run_at": in_paris})
        hour = (noon + timedelta(hours=1)).isoformat()
        next_hour = await post(http, "compute-index", {**body, "run_at": hour})
        assert "scheduled for" in first.json()["message"]
        assert "already queued" in joined.json()["message"]
        assert ids([first]) == ids([joined])
        assert len(ids([now, first, next_hour])) == 3
        active = (await http.get(f"{TASKS}/active")).json()
        scheduled = {
            task["task_id"]: task for group in active["scheduled"].values() for task in group
        }
        found = scheduled[first.json()["task_id"]]
        assert datetime.fromisoformat(found["due_at"]) == noon
        assert "run_at" not in found["parameters"]
        cancelled = await http.delete(f"{TASKS}/task/{next_hour.json()['task_id']}")
        assert cancelled.json()["status"] == "revoked"


@pytest.mark.parametrize(
    ("run_at", "reason"),
    [
        ("tomorrow", "valid datetime"),
        ("2031-01-01T00:00:00", "timezone"),
        ("2020-01-01T00:00:00Z", "past"),
        ("9999-12-31T23:59:59+00:00", "more than 90 days ahead"),
        ("0001-01-01T00:00:00+23:00", "past"),
        (1_900_000_000, "write it as in"),
        ("1900000000", "write it as in"),
        (True, "write it as in"),
        ({}, "write it as in"),
    ],
)
async def test_a_time_that_makes_no_sense_is_refused(
    settings: Settings, run_at: object, reason: str
) -> None:
    runner = InMemory()
    app = create_app(settings, runner)
    async with app.router.lifespan_context(app), client(app) as http:
        for path, body in (("refresh", {}), ("generate-report", REPORT), ("cleanup", {})):
            found = problem(await post(http, path, {**body, "run_at": run_at}), 422)
            assert [error["field"] for error in found["errors"]] == ["run_at"]
            assert reason in found["detail"]
    assert not runner.runs


async def test_a_key_gives_its_task_also_when_its_time_has_come(
    app: FastAPI, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"run_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    key = uuid4().hex
    async with client(app, user) as http:
        first = await post(http, "cleanup", body, key)
        monkeypatch.setattr(work, "datetime", Later)
        again = await post(http, "cleanup", body, key)
        problem(await post(http, "cleanup", body, uuid4().hex), 422)
    assert ids([first]) == ids([again])


class Later(datetime):
    """A clock that is two hours ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(hours=2)


def test_work_that_a_worker_has_taken_is_booked_anew(api_engine: Engine) -> None:
    key, task_id = uuid4().hex, uuid4()
    with api_engine.begin() as connection:
        first = idempotency.book_while_queued(connection, key)
        assert idempotency.book_while_queued(connection, key) == first
        idempotency.settle(connection, first, task_id)
        joined = idempotency.book_while_queued(connection, key)
        assert joined == Booking(key, key, first.run_key, task_id)
        leases.take(connection, task_id, "worker-1", timedelta(minutes=1))
        second = idempotency.book_while_queued(connection, key)
        assert second.run_key != first.run_key
        assert second.task_id is None
        # Who still holds the old booking can neither renew the new one nor settle it.
        idempotency.settle(connection, first, task_id)
        assert idempotency.renew(connection, first) == second
        assert idempotency.renew(connection, second).run_key != second.run_key
