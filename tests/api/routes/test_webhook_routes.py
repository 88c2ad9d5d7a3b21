"""Webhooks of users, over the facade: their secret is shown once, and to nobody else."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from api.app import create_app
from autoindex.settings import Settings
from autoindex.storage.webhooks import outbox
from autoindex.webhooks.events import Event
from autoindex.webhooks.sender import Outcome
from tests.api.answers import client, problem
from tests.api.in_memory import InMemory

pytestmark = pytest.mark.anyio

HOOKS: Final = "/api/v1/webhooks"
URL: Final = "https://93.184.215.14/hook"


@pytest.fixture
async def ann(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, f"ann-{uuid4().hex}") as opened:
        yield opened


async def create(http: httpx.AsyncClient, url: str = URL, **more: Any) -> dict[str, Any]:
    answer = await http.post(HOOKS, json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def tell(engine: Engine) -> str:
    id_ = f"msg_{uuid4().hex}"
    with engine.begin() as connection:
        outbox.tell(connection, Event(id_, "levels.changed", datetime.now(UTC), {"levels": 2}))
    return id_


async def test_a_secret_is_shown_once_and_logged_nowhere(
    ann: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        made = await create(ann)
        listed = await ann.get(HOOKS)
        deliveries = await ann.get(f"{HOOKS}/{made['id']}/deliveries")
        await ann.post(f"{HOOKS}/{made['id']}/enable")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert listed.json() == {"webhooks": [made]}
    assert sorted(made["events"]) == ["levels.changed", "levels.published", "task.ended"]
    for text in (listed.text, deliveries.text, caplog.text):
        assert secret not in text
        assert secret.removeprefix("whsec_") not in text


async def test_a_repeated_request_makes_no_second_one(ann: httpx.AsyncClient) -> None:
    made = await create(ann, events=["task.ended", "task.ended"])
    assert made["events"] == ["task.ended"]
    again = problem(await ann.post(HOOKS, json={"url": URL}), 409)
    assert again["type"].endswith(":webhook-exists")
    for number in range(9):
        await create(ann, f"{URL}/{number}")
    full = problem(await ann.post(HOOKS, json={"url": f"{URL}/more"}), 409)
    assert full["type"].endswith(":too-many-webhooks")
    assert (await ann.delete(f"{HOOKS}/{made['id']}")).status_code == 204
    problem(await ann.delete(f"{HOOKS}/{made['id']}"), 404)
    await create(ann)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://93.184.215.14/", "must begin with https://"),
        ("https://localhost/", "its address is not public"),
        ("https://127.0.0.1:8000/", "its address is not public"),
        ("https://169.254.169.254/latest/meta-data", "its address is not public"),
        ("https://[::ffff:10.0.0.1]/", "its address is not public"),
        ("https://me:word@93.184.215.14/", "must be ASCII, without user, password or fragment"),
        ("file:///etc/passwd", "must be a URL with scheme and host"),
        ("https://93.184.215.14/\x00", "must be a URL with scheme and host"),
    ],
)
async def test_where_nothing_would_be_sent_is_refused(
    ann: httpx.AsyncClient, url: str, reason: str
) -> None:
    refused = problem(await ann.post(HOOKS, json={"url": url}), 422)
    assert refused["errors"][0]["field"] == "url"
    assert refused["errors"][0]["message"].startswith(reason)
    assert (await ann.get(HOOKS)).json() == {"webhooks": []}


async def test_a_name_may_come_to_be_known_later(ann: httpx.AsyncClient) -> None:
    await create(ann, "https://not-yet.invalid/hook")


async def test_private_addresses_are_for_those_who_allow_them(
    settings: Settings, runner: InMemory
) -> None:
    allowing = settings.model_copy(update={"webhook_private_addresses": True})
    made = create_app(allowing, runner)
    async with made.router.lifespan_context(made), client(made, f"eve-{uuid4().hex}") as http:
        await create(http, "http://127.0.0.1:9/")


async def test_what_was_told_is_listed_and_replayed(
    app: FastAPI, ann: httpx.AsyncClient, api_engine: Engine
) -> None:
    hook = (await create(ann))["id"]
    told = [tell(api_engine) for _ in range(3)]
    path = f"{HOOKS}/{hook}/deliveries"
    first = (await ann.get(path, params={"per_page": 2})).json()
    rest = (await ann.get(path, params={"per_page": 2, "page": 2})).json()
    found = [one["message_id"] for page in (first, rest) for one in page["deliveries"]]
    assert (found, first["total"]) == (told[::-1], 3)
    (one,) = rest["deliveries"]
    assert one["body"]["data"] == {"levels": 2}
    assert (one["attempts"], one["outcome"], one["delivered_at"]) == (0, None, None)
    with api_engine.begin() as connection:
        for claim in outbox.claim(connection, [], each=9, most=999):
            outbox.settle(connection, claim, Outcome(204, "HTTP 204"))
    (done,) = (await ann.get(path, params={"per_page": 2, "page": 2})).json()["deliveries"]
    assert (done["attempts"], done["outcome"]) == (1, "HTTP 204")
    assert done["delivered_at"]
    again = await ann.post(f"{path}/{done['id']}/replay")
    assert again.json()["attempts"] == 0
    assert again.json()["next_attempt_at"]
    assert (await ann.post(f"{path}/{done['id']}/replay")).json() == again.json()


async def test_a_strangers_webhook_is_not_there(
    app: FastAPI, ann: httpx.AsyncClient, api_engine: Engine
) -> None:
    hook = (await create(ann))["id"]
    tell(api_engine)
    path = f"{HOOKS}/{hook}/deliveries"
    delivery = (await ann.get(path)).json()["deliveries"][0]["id"]
    async with client(app, f"eve-{uuid4().hex}") as eve:
        other = (await create(eve))["id"]
        for answer in (
            await eve.get(path),
            await eve.delete(f"{HOOKS}/{hook}"),
            await eve.post(f"{HOOKS}/{hook}/enable"),
            await eve.post(f"{path}/{delivery}/replay"),
            await eve.post(f"{HOOKS}/{other}/deliveries/{delivery}/replay"),
        ):
            problem(answer, 404)
        assert [one["id"] for one in (await eve.get(HOOKS)).json()["webhooks"]] == [other]


async def test_who_may_only_read_changes_nothing(app: FastAPI) -> None:
    async with client(app, f"bob-{uuid4().hex}", ["tasks:read"]) as bob:
        assert (await bob.get(HOOKS)).json() == {"webhooks": []}
        problem(await bob.post(HOOKS, json={"url": URL}), 403)
        problem(await bob.delete(f"{HOOKS}/{uuid4()}"), 403)
