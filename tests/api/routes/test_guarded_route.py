"""What no body may hold, and how much work is done before it is refused."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from api.problems import MOST_ERRORS, Problem
from api.routes import guarded_route
from api.routes.guarded_route import MOST_FIELDS, TEMPLATE_KEY, check
from api.server.middleware import LARGEST_BODY_BYTES
from benchmarks import refusals
from tests.api.answers import client, problem

TASKS = "/api/v1/background"
JSON = {"content-type": "application/json"}


def refused(body: bytes) -> tuple[str, str]:
    """The only field that is named, and what is said of it."""
    with pytest.raises(Problem) as found:
        check(body)
    assert found.value.status == 422
    (error,) = found.value.errors
    return error.field, error.message


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a": [{}, {"__prefect\u005fkind": 1}]}',
        '{"__prefect_kind": {"__prefect_kind": 1}}'.encode("utf-16"),
        b'[[[{"a": []}]], {"": {"__prefect_kind": 1}}]',
        b'{"a": 1, "a": 2, "__prefect_kind": 1}',
    ],
)
def test_a_template_is_found_however_it_is_written(body: bytes) -> None:
    assert refused(body) == (TEMPLATE_KEY, "not allowed anywhere")


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b"[" * 99_999, "body", "lists and objects"),
        (json.dumps({f"k{n}": n for n in range(MOST_FIELDS + 1)}).encode(), "body", "fields"),
        (b'{"dry_run": true, "dry_run": false}', "dry_run", "twice"),
        (b'{"' + b"k" * 500 + b'":1,"' + b"k" * 500 + b'":1}', "k" * 100, "twice"),
        (b'{"a": "\xff"}', "body", "UTF-8"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "body", "digits"),
        (b'{"a": ', "body", "not JSON"),
        (b"", "body", "not JSON"),
    ],
)
def test_what_no_request_holds_is_named(body: bytes, field: str, message: str) -> None:
    where, said = refused(body)
    assert where == field
    assert message in said


def test_the_largest_request_has_room() -> None:
    body = {"mode": "smart", "symbols": ["ABCDEFGHIJ.ABCD"] * 5_000, "force": False}
    written = json.dumps(body, indent=2).encode()
    assert len(written) < LARGEST_BODY_BYTES
    check(written)


@pytest.fixture
def built(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many errors each refused body is found to have."""
    counts: list[int] = []
    handler = app.exception_handlers[RequestValidationError]

    async def counted(request: Any, error: RequestValidationError) -> Any:
        counts.append(len(error.errors()))
        return await handler(request, error)  # type: ignore[misc]

    monkeypatch.setitem(app.exception_handlers, RequestValidationError, counted)
    return counts


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["refresh", "compute-index", "generate-report", "cleanup"])
@pytest.mark.parametrize("name", refusals.bodies())
async def test_no_more_errors_are_found_than_are_told(
    http: httpx.AsyncClient, built: list[int], path: str, name: str
) -> None:
    body = refusals.bodies()[name]
    answer = await http.post(f"{TASKS}/{path}", content=body, headers=JSON)
    problem(answer, 413 if name == "too large" else 422)
    assert sum(built) <= MOST_ERRORS + 4
    # Only what is outside the universe is named in full, twice.
    assert len(answer.content) < 3 * len(body)


@pytest.mark.anyio
async def test_who_may_not_start_a_task_has_no_body_looked_at(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bytes] = []
    monkeypatch.setattr(guarded_route, "check", looked.append)
    async with client(app, "bob", ["tasks:read"]) as reader:
        for path in ("refresh", "cleanup"):
            problem(await reader.post(f"{TASKS}/{path}", content=b"{", headers=JSON), 403)
    assert looked == []


@pytest.mark.anyio
async def test_an_address_with_thousands_of_parameters_is_refused(http: httpx.AsyncClient) -> None:
    for query in ("a=&" * 50, "&".join(f"{n}=" for n in range(5_000)), "&" * 20_000):
        problem(await http.get(f"{TASKS}/tasks?{query}"), 431)
    problem(await http.get(f"{TASKS}/tasks", headers=[("x", "y")] * 200), 431)


@pytest.mark.anyio
async def test_a_route_that_takes_no_body_does_not_look_at_one(
    app: FastAPI, http: httpx.AsyncClient
) -> None:
    sent = {TEMPLATE_KEY: "jinja"}
    async with client(app, None) as stranger:
        for path in ("/health", "/ready"):
            answer = await stranger.request("GET", path, json=sent)
            assert answer.status_code == 200
    answer = await http.request("GET", f"{TASKS}/tasks", content=b"no JSON")
    assert answer.status_code == 200
    problem(await http.post(f"{TASKS}/refresh", json=sent), 422)


@pytest.mark.anyio
async def test_where_no_token_is_needed_a_body_is_cut_off_at_the_bound(app: FastAPI) -> None:
    taken = 0

    async def flood() -> Any:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield b" " * 10_000

    async with client(app, None) as stranger:
        problem(await stranger.post("/health", content=flood()), 413)
    assert taken <= LARGEST_BODY_BYTES // 10_000 + 1


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_another_type_than_json_is_refused(app: FastAPI, sent: str | None) -> None:
    headers = {} if sent is None else {"content-type": sent}
    async with client(app) as http:
        answer = await http.post(f"{TASKS}/refresh", content=b"{}", headers=headers)
        taken = {"content-type": "Application/JSON; charset=utf-8"}
        right = await http.post(f"{TASKS}/refresh", content=b"{}", headers=taken)
    assert "Content-Type: application/json" in problem(answer, 415)["detail"]
    assert right.status_code == 202


@pytest.mark.anyio
async def test_two_idempotency_keys_are_refused(app: FastAPI) -> None:
    headers = [("idempotency-key", "one"), ("idempotency-key", "two")]
    async with client(app) as http:
        answer = await http.post(f"{TASKS}/refresh", json={}, headers=headers)
    assert "one Idempotency-Key" in problem(answer, 400)["detail"]
