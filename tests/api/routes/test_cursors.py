"""Lists are read by cursors, while they grow; a cursor of another list is refused."""

import csv
import io
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pandas as pd
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, delete, insert

from api.tasks.runner import Kind
from autoindex.requests import Frequency, Strategy
from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.index import index_metrics, publications
from autoindex.storage.tables import allocations, assets, index_levels, metrics
from autoindex.storage.tables import publications as publications_table
from tests.api.answers import problem
from tests.api.in_memory import InMemory

pytestmark = pytest.mark.anyio

TASKS = "/api/v1/background/tasks"
AUDIT = "/api/v1/audit"
INDEX = "/api/v1/index"
EQUAL_WEIGHT = {"strategy": "equal_weight", "frequency": "weekly"}
FIRST = date(2022, 1, 3)

Grow = Callable[[int], Awaitable[None] | None]


async def pages(
    http: httpx.AsyncClient, path: str, params: dict[str, Any], grow: Grow = lambda _: None
) -> AsyncIterator[httpx.Response]:
    """Every page, as a client reads them that knows the `Link` only; `grow` adds rows between."""
    answer = await http.get(path, params=params)
    for number in range(100):
        assert answer.status_code == 200, answer.text
        yield answer
        if "next" not in answer.links:
            return
        grow(number)
        answer = await http.get(answer.links["next"]["url"])
    raise AssertionError("this list never ends")


async def test_tasks_come_once_each_while_others_arrive(
    http: httpx.AsyncClient, runner: InMemory
) -> None:
    now = datetime.now(UTC)
    known = [runner.schedule(Kind.REFRESH, {}, timedelta()) for _ in range(7)]
    for number, run in enumerate(known):
        run.due_at = now - timedelta(hours=number // 3)

    def arrive(_: int) -> None:
        runner.schedule(Kind.REFRESH, {}, timedelta())

    query = {"per_page": 2, "kind": "refresh"}
    read = [answer.json() async for answer in pages(http, TASKS, query, arrive)]
    listed = [task["task_id"] for page in read for task in page["tasks"]]
    assert sorted(listed) == sorted(str(run.id) for run in known)
    assert [page["page"] for page in read] == [1, 2, 3, 4]
    assert {page["total"] for page in read} == {7}


async def test_entries_of_the_audit_come_once_each(
    http: httpx.AsyncClient, api_engine: Engine
) -> None:
    user = f"eve-{uuid4().hex}"

    def act(number: int) -> None:
        with api_engine.begin() as connection:
            audit.record(connection, Author(user), f"act {number}")

    for number in range(5):
        act(number)
    query = {"user": user, "per_page": 2}
    read = [answer.json() async for answer in pages(http, AUDIT, query, lambda _: act(9))]
    actions = [entry["action"] for page in read for entry in page["entries"]]
    assert actions == [f"act {number}" for number in (4, 3, 2, 1, 0)]
    assert [(page["page"], page["total"]) for page in read] == [(1, 5), (2, 5), (3, 5)]
    as_csv = {**query, "user": user, "format": "csv", "per_page": 4}
    texts = [answer.text async for answer in pages(http, AUDIT, as_csv)]
    assert [len([*csv.DictReader(io.StringIO(text))]) for text in texts] == [4, 3]


@pytest.fixture
def index(api_engine: Engine) -> Callable[[int], None]:
    """Publishes one more session, with a level, two weights and metrics."""
    which = (Strategy.EQUAL_WEIGHT, Frequency.WEEKLY)

    def publish(number: int) -> None:
        session = FIRST + timedelta(days=number)
        levels = pd.Series([100.0 + number], pd.DatetimeIndex([session]))
        with api_engine.begin() as connection:
            cause = "new sessions"
            publications.publish(connection, *which, levels, cause=cause, task_id=None)
            for row in connection.execute(assets.select()).all():
                held = {"session": session, "asset_id": row.id, "weight": 0.5, "units": 1.0}
                connection.execute(insert(allocations).values({**EQUAL_WEIGHT, **held}))
            index_metrics.store(connection, *which, session, {"all": {"beta": None}})

    with api_engine.begin() as connection:
        for table in (index_levels, allocations, metrics, publications_table):
            connection.execute(delete(table).where(table.c.strategy == "equal_weight"))
    for number in range(5):
        publish(number)
    return publish


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(("name", "rows"), [("levels", 1), ("metrics", 1), ("allocations", 2)])
async def test_rows_of_an_index_come_once_each_while_sessions_are_published(
    http: httpx.AsyncClient, index: Callable[[int], None], order: str, name: str, rows: int
) -> None:
    def publish_once(number: int) -> None:
        if number == 0:
            index(5)

    query = {**EQUAL_WEIGHT, "order": order, "per_page": 3}
    path = f"{INDEX}/{name}"
    read = [answer.json() async for answer in pages(http, path, query, publish_once)]
    keys = [(row["session"], row.get("symbol")) for page in read for row in page[name]]
    days = range(6) if order == "asc" else range(4, -1, -1)
    sessions = [str(FIRST + timedelta(days=day)) for day in days]
    assert [session for session, _ in keys] == [one for one in sessions for _ in range(rows)]
    assert len(set(keys)) == len(keys)
    assert [page["page"] for page in read] == [*range(1, len(read) + 1)]
    assert (read[0]["total"], read[-1]["total"]) == (5 * rows, len(keys))


async def test_a_page_from_the_cache_names_the_next_one_too(
    http: httpx.AsyncClient, index: Callable[[int], None]
) -> None:
    query = {**EQUAL_WEIGHT, "per_page": 2}
    first = [answer async for answer in pages(http, f"{INDEX}/levels", query)]
    again = [answer async for answer in pages(http, f"{INDEX}/levels", query)]
    assert [answer.content for answer in first] == [answer.content for answer in again]
    assert [answer.headers.get("link") for answer in again] == [
        answer.headers.get("link") for answer in first
    ]
    assert len(again) == 3


async def first_link(http: httpx.AsyncClient, path: str, **params: Any) -> str:
    answer = await http.get(path, params=params)
    return answer.links["next"]["url"]


async def test_a_cursor_is_refused_with_anything_but_its_list(
    http: httpx.AsyncClient, runner: InMemory, index: Callable[[int], None]
) -> None:
    for _ in range(3):
        runner.schedule(Kind.REFRESH, {}, timedelta())
    tasks = httpx.URL(await first_link(http, TASKS, per_page=2, kind="refresh"))
    levels = httpx.URL(await first_link(http, f"{INDEX}/levels", per_page=2, **EQUAL_WEIGHT))
    cursor = tasks.params["cursor"]
    for path, params in (
        (TASKS, {"kind": "report"}),
        (TASKS, {}),
        (AUDIT, {}),
        (TASKS, {"kind": "refresh", "user": "ada"}),
        (f"{INDEX}/levels", {**EQUAL_WEIGHT, "order": "desc"}),
        (f"{INDEX}/metrics", EQUAL_WEIGHT),
    ):
        for one in (cursor, levels.params["cursor"]):
            answer = await http.get(path, params={**params, "cursor": one})
            assert [error["field"] for error in problem(answer, 422)["errors"]] == ["cursor"]
    assert (await http.get(TASKS, params={"kind": "refresh", "cursor": cursor})).status_code == 200
    another = {"kind": "refresh", "cursor": cursor, "per_page": 1}
    assert (await http.get(TASKS, params=another)).status_code == 200
    both = await http.get(TASKS, params={"kind": "refresh", "cursor": cursor, "page": 2})
    assert [error["field"] for error in problem(both, 422)["errors"]] == ["page"]
    foreseen = {**EQUAL_WEIGHT, "cursor": cursor, "pro_forma": True}
    answer = await http.get(f"{INDEX}/allocations", params=foreseen)
    assert [error["field"] for error in problem(answer, 422)["errors"]] == ["pro_forma"]


def forged(cursor: str, **changed: Any) -> str:
    told = json.loads(urlsafe_b64decode(cursor + "=="))
    return urlsafe_b64encode(json.dumps({**told, **changed}).encode()).decode().rstrip("=")


@pytest.mark.parametrize("path", [TASKS, AUDIT, f"{INDEX}/levels"])
async def test_what_is_no_cursor_is_refused(
    http: httpx.AsyncClient, runner: InMemory, index: Callable[[int], None], path: str
) -> None:
    for _ in range(2):
        runner.schedule(Kind.REFRESH, {}, timedelta())
        await http.post("/api/v1/background/queues/resume")
    query = {"per_page": 1, **(EQUAL_WEIGHT if "index" in path else {})}
    real = httpx.URL(await first_link(http, path, **query)).params["cursor"]
    bad = ["", "x", "%", "é", "a" * 20_000, real[:-4], "bnVsbA", "e30"]
    bad += [
        forged(real, after=after)
        for after in (None, 0, -1, 2**63, "x", [], ["0001-01-01T00:00:00+14:00", []], ["x", 1])
    ]
    bad += [forged(real, page=0), forged(real, rows=-1), forged(real, filters=""), real + "\x00"]
    for cursor in bad:
        answer = await http.get(path, params={**query, "cursor": cursor})
        assert [one["field"] for one in problem(answer, 422)["errors"]] == ["cursor"], cursor
    assert (await http.get(path, params={**query, "cursor": real})).status_code == 200


async def test_the_contract_names_cursor_and_link(app: FastAPI) -> None:
    described = {
        operation["operationId"]: operation["responses"]
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
        if "cursor" in [parameter["name"] for parameter in operation.get("parameters", ())]
    }
    lists = {"listTasks", "readAudit", "readLevels", "readAllocations", "readMetrics"}
    assert described.keys() == lists
    for responses in described.values():
        assert 'rel="next"' in responses["200"]["headers"]["Link"]["example"]
        assert "Link" not in responses.get("304", {}).get("headers", {})


async def test_a_page_by_its_number_has_no_next_by_cursor(
    http: httpx.AsyncClient, index: Callable[[int], None]
) -> None:
    numbered = {**EQUAL_WEIGHT, "per_page": 2, "page": 2}
    answer = await http.get(f"{INDEX}/levels", params=numbered)
    assert "link" not in answer.headers
    assert answer.json()["page"] == 2


async def test_more_tasks_of_one_instant_than_a_cursor_can_name_are_refused(
    http: httpx.AsyncClient, runner: InMemory
) -> None:
    due_at = datetime.now(UTC)
    for _ in range(401):
        runner.schedule(Kind.REPORT, {}, timedelta()).due_at = due_at
    url = await first_link(http, TASKS, per_page=200)
    answer = await http.get(url)
    assert [error["field"] for error in problem(answer, 422)["errors"]] == ["cursor"]
    numbered = await http.get(TASKS, params={"per_page": 200, "page": 3})
    assert len(numbered.json()["tasks"]) == 1
