"""Queues are paused and resumed by administrators, and shown as paused."""

import httpx
import pytest
from fastapi import FastAPI

from tests.api.answers import client, problem
from tests.api.in_memory import InMemory

pytestmark = pytest.mark.anyio

TASKS = "/api/v1/background"


async def test_a_paused_queue_is_shown_until_it_is_resumed(http: httpx.AsyncClient) -> None:
    paused = await http.post(f"{TASKS}/queues/high_priority/pause")
    assert paused.status_code == 200
    assert paused.json()["queues"] == [
        {"name": "high_priority", "paused": True},
        {"name": "default", "paused": False},
        {"name": "low_priority", "paused": False},
    ]
    assert (await http.get(f"{TASKS}/active")).json()["paused"] == ["high_priority"]
    ready = await http.get("/ready")
    assert ready.status_code == 200
    assert ready.json()["checks"]["queues"] == "paused: high_priority"
    assert 'autoindex_queue_paused{queue="high_priority"} 1.0' in (await http.get("/metrics")).text
    assert (await http.post(f"{TASKS}/refresh", json={})).status_code == 202
    await http.post(f"{TASKS}/queues/high_priority/resume")
    assert (await http.get(f"{TASKS}/active")).json()["paused"] == []


async def test_all_queues_are_paused_at_once(http: httpx.AsyncClient, runner: InMemory) -> None:
    for act, paused in (("pause", True), ("resume", False)):
        answer = await http.post(f"{TASKS}/queues/{act}")
        assert {queue["paused"] for queue in answer.json()["queues"]} == {paused}
        assert set(runner.paused.values()) == {paused}


async def test_a_queue_that_is_not_there_is_not_found(http: httpx.AsyncClient) -> None:
    for name in ("nosuch", "..%2Fdefault", "..%2F..%2Fdeployments"):
        problem(await http.post(f"{TASKS}/queues/{name}/pause"), 404)


async def test_only_administrators_pause(app: FastAPI, runner: InMemory) -> None:
    async with client(app, "bob", ["tasks:read", "tasks:run"]) as bob:
        for path in ("pause", "resume", "default/pause", "default/resume"):
            problem(await bob.post(f"{TASKS}/queues/{path}"), 403)
    assert not any(runner.paused.values())
