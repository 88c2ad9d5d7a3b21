"""The audit: every request that changes something leaves an entry, and administrators read them."""

import csv
import io
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import ProgrammingError

from api.async_storage import Database
from api.tasks.runner import Kind
from autoindex.storage import audit
from autoindex.storage.audit import Author, Wanted
from autoindex.storage.tables import audit as table
from autoindex.storage.webhooks import endpoints, outbox
from autoindex.webhooks.events import Event
from autoindex.webhooks.sender import Outcome
from tests.api.answers import client, problem
from tests.api.in_memory import InMemory

pytestmark = pytest.mark.anyio

TASKS: Final = "/api/v1/background"
AUDIT: Final = "/api/v1/audit"
HOOKS: Final = "/api/v1/webhooks"
READS: Final = {"GET", "HEAD"}

Act = Callable[[httpx.AsyncClient, InMemory], Awaitable[httpx.Response]]


def posting(path: str, body: Any = None) -> Act:
    async def act(http: httpx.AsyncClient, _: InMemory) -> httpx.Response:
        return await http.post(path, json=body, headers={"Idempotency-Key": uuid4().hex})

    return act


async def cancelling(http: httpx.AsyncClient, runner: InMemory) -> httpx.Response:
    run = runner.schedule(Kind.REPORT, {}, timedelta())
    return await http.delete(f"{TASKS}/task/{run.id}")


async def retrying(http: httpx.AsyncClient, runner: InMemory) -> httpx.Response:
    run = runner.schedule(Kind.COMPUTE, {}, timedelta())
    run.move("FAILED")
    return await http.post(f"{TASKS}/task/{run.id}/retry")


def to_many(act: str) -> Act:
    async def acting(http: httpx.AsyncClient, runner: InMemory) -> httpx.Response:
        runner.schedule(Kind.COMPUTE, {}, timedelta()).move("FAILED")
        runner.schedule(Kind.COMPUTE, {}, timedelta())
        token = (await http.post(f"{TASKS}/{act}", json={})).json()["token"]
        return await http.post(f"{TASKS}/{act}", json={"dry_run": False, "token": token})

    return acting


async def creating(http: httpx.AsyncClient, _: InMemory) -> httpx.Response:
    return await http.post(HOOKS, json={"url": "https://93.184.215.14/secret-path"})


def of_a_webhook(method: str, path: str, disabled: bool = False) -> Act:
    async def acting(http: httpx.AsyncClient, runner: InMemory) -> httpx.Response:
        webhook_id = (await creating(http, runner)).json()["id"]
        database: Database = http._transport.app.state.database  # type: ignore[attr-defined]
        if disabled:
            await database.transact(endpoints.disable, UUID(webhook_id), "no answer")
        event = Event(f"msg_{uuid4().hex}", "levels.published", datetime.now(UTC), {})
        await database.transact(outbox.tell, event)
        claims = await database.transact(outbox.claim, [], each=9, most=999)
        for claim in claims:
            await database.transact(outbox.settle, claim, Outcome(500, "HTTP 500"))
        told = await http.get(f"{HOOKS}/{webhook_id}/deliveries")
        delivery = next((one["id"] for one in told.json()["deliveries"]), 0)
        return await http.request(method, f"{HOOKS}/{webhook_id}{path}".format(delivery))

    return acting


REPORT = {"report_type": "daily", "format": "json", "email": "ada@example.com"}
ACTS: Final[dict[tuple[str, str], tuple[str, Act]]] = {
    ("POST", f"{TASKS}/refresh"): ("start refresh", posting(f"{TASKS}/refresh", {})),
    ("POST", f"{TASKS}/compute-index"): ("start compute", posting(f"{TASKS}/compute-index", {})),
    ("POST", f"{TASKS}/generate-report"): (
        "start report",
        posting(f"{TASKS}/generate-report", REPORT),
    ),
    ("POST", f"{TASKS}/cleanup"): ("start cleanup", posting(f"{TASKS}/cleanup", {})),
    ("POST", f"{TASKS}/task/{{task_id}}/retry"): ("retry task", retrying),
    ("DELETE", f"{TASKS}/task/{{task_id}}"): ("cancel task", cancelling),
    ("POST", f"{TASKS}/cancel"): ("cancel tasks", to_many("cancel")),
    ("POST", f"{TASKS}/retry"): ("retry tasks", to_many("retry")),
    ("POST", f"{TASKS}/queues/pause"): ("pause queue", posting(f"{TASKS}/queues/pause")),
    ("POST", f"{TASKS}/queues/resume"): ("resume queue", posting(f"{TASKS}/queues/resume")),
    ("POST", f"{TASKS}/queues/{{name}}/pause"): (
        "pause queue",
        posting(f"{TASKS}/queues/default/pause"),
    ),
    ("POST", f"{TASKS}/queues/{{name}}/resume"): (
        "resume queue",
        posting(f"{TASKS}/queues/default/resume"),
    ),
    ("POST", HOOKS): ("create webhook", creating),
    ("DELETE", f"{HOOKS}/{{webhook_id}}"): ("delete webhook", of_a_webhook("DELETE", "")),
    ("POST", f"{HOOKS}/{{webhook_id}}/enable"): (
        "enable webhook",
        of_a_webhook("POST", "/enable", disabled=True),
    ),
    ("POST", f"{HOOKS}/{{webhook_id}}/deliveries/{{delivery_id}}/replay"): (
        "replay webhook",
        of_a_webhook("POST", "/deliveries/{}/replay"),
    ),
}


def entries(engine: Engine, user: str, action: str | None = None) -> list[audit.Entry]:
    with engine.begin() as connection:
        return audit.load(connection, Wanted(user, action), limit=100, offset=0)[1]


@pytest.fixture
def user() -> str:
    return f"eve-{uuid4().hex[:8]}"


async def test_every_route_that_changes_something_is_tried(app: FastAPI) -> None:
    paths = app.openapi()["paths"].items()
    methods = {(method.upper(), path) for path, operations in paths for method in operations}
    mutating = {(method, path) for method, path in methods if method not in READS}
    assert mutating == ACTS.keys()


@pytest.mark.parametrize("route", ACTS, ids=" ".join)
async def test_what_a_request_changes_is_recorded(
    app: FastAPI, runner: InMemory, api_engine: Engine, user: str, route: tuple[str, str]
) -> None:
    action, act = ACTS[route]
    async with client(app, user) as http:
        answer = await act(http, runner)
        assert answer.is_success, answer.text
        (found, *_) = entries(api_engine, user, action)
    assert found.request_id == answer.headers["x-request-id"]
    assert found.after or found.before
    assert "ada@example.com" not in str(found)
    assert "secret-path" not in str(found)
    assert "whsec_" not in str(found)


async def test_the_entry_is_there_before_prefect_is_asked(
    app: FastAPI, runner: InMemory, api_engine: Engine, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def gone(*_: Any, **__: Any) -> Any:
        seen.extend(one.action for one in entries(api_engine, user))
        raise ConnectionResetError

    for name in ("start", "cancel", "pause"):
        monkeypatch.setattr(runner, name, gone)
    run = runner.schedule(Kind.COMPUTE, {}, timedelta())
    key = {"Idempotency-Key": user}
    async with client(app, user) as http:
        for answer in (
            await http.post(f"{TASKS}/refresh", json={}, headers=key),
            await http.delete(f"{TASKS}/task/{run.id}"),
            await http.post(f"{TASKS}/queues/default/pause"),
        ):
            problem(answer, 500)
    assert seen == [
        "start refresh",
        *("cancel task", "start refresh"),
        *("pause queue", "cancel task", "start refresh"),
    ]


async def test_a_task_that_was_queued_is_named(app: FastAPI, api_engine: Engine, user: str) -> None:
    async with client(app, user) as http:
        answer = await http.post(f"{TASKS}/refresh", json={}, headers={"Idempotency-Key": user})
        again = await http.post(f"{TASKS}/refresh", json={}, headers={"Idempotency-Key": user})
    task_id = answer.json()["task_id"]
    assert again.json()["task_id"] == task_id
    queued, asked = entries(api_engine, user)
    assert (queued.action, queued.subject) == ("queue task", task_id)
    assert asked.after is not None
    assert queued.after == {"run_key": asked.after["run_key"]}
    assert asked.after["parameters"] == {"mode": "smart", "symbols": None, "force": False}


async def test_an_act_that_fails_leaves_no_entry(app: FastAPI, api_engine: Engine) -> None:
    database: Database = app.state.database
    user = uuid4().hex

    def fails(connection: Connection) -> None:
        audit.record(connection, Author(user), "try")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.transact(fails)
    assert not entries(api_engine, user)


@pytest.mark.parametrize(
    "change", ["update audit set user_name = 'nobody'", "delete from audit", "truncate audit"]
)
def test_an_entry_stays_as_it_is(api_engine: Engine, user: str, change: str) -> None:
    with api_engine.begin() as connection:
        audit.record(connection, Author(user), "try")
    with (
        pytest.raises(ProgrammingError, match="stay as they are"),
        api_engine.begin() as connection,
    ):
        connection.execute(text(change))
    assert len(entries(api_engine, user)) == 1


async def test_administrators_read_it(app: FastAPI, api_engine: Engine, user: str) -> None:
    subject = uuid4()
    with api_engine.begin() as connection:
        for number in range(3):
            after = {"number": number, "said": 'a "quoted", word'}
            audit.record(connection, Author(user, "r-1"), f"act {number}", subject, after=after)
    async with client(app, "root", ["tasks:admin"]) as root:
        page = (await root.get(AUDIT, params={"user": user, "per_page": 2})).json()
        assert (page["total"], page["page"], page["per_page"]) == (3, 1, 2)
        assert [one["action"] for one in page["entries"]] == ["act 2", "act 1"]
        for headers, query in (({"Accept": "text/csv"}, {}), ({}, {"format": "csv"})):
            params: dict[str, Any] = {"subject": str(subject), **query}
            answer = await root.get(AUDIT, params=params, headers=headers)
            assert answer.headers["content-type"].startswith("text/csv")
            rows = [*csv.DictReader(io.StringIO(answer.text))]
            assert [row["action"] for row in rows] == ["act 2", "act 1", "act 0"]
            assert json.loads(rows[0]["after"]) == {"number": 2, "said": 'a "quoted", word'}
            assert (rows[0]["user"], rows[0]["request_id"]) == (user, "r-1")
        one = (await root.get(AUDIT, params={"user": user, "action": "act 1"})).json()
        assert one["total"] == 1
        later = {"user": user, "since": "2099-01-01T00:00:00Z"}
        assert (await root.get(AUDIT, params=later)).json()["entries"] == []
        problem(await root.get(AUDIT, params={"subject": "x", "format": "pdf"}), 422)
        problem(await root.get(AUDIT, headers={"Accept": "image/png"}), 406)
    async with client(app, "bob", ["tasks:read", "tasks:run"]) as bob:
        problem(await bob.get(AUDIT), 403)


def test_the_entries_of_one_transaction_have_one_time(api_engine: Engine, user: str) -> None:
    with api_engine.begin() as connection:
        audit.record(connection, Author(user), "try", "a", "b")
    with api_engine.connect() as connection:
        query = select(table.c.at).where(table.c.user_name == user)
        first, second = connection.execute(query).scalars()
    assert first == second
