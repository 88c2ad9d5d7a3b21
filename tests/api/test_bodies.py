"""What no body may hold, and what it costs to look for it."""

import json
import time
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from api.bodies import TEMPLATE_KEY, refuse_templates
from api.gate import LARGEST_BODY_BYTES
from api.problems import MOST_ERRORS, Problem
from tests.api.answers import client, problem

ELEMENTS = "1," * 400_000
# Times as dear: with ways written out on the way it was forty times.
_DEARER = 10


def deep(inside: str, levels: int = 400) -> bytes:
    """`inside` under many long keys that take several bytes a character."""
    key = json.dumps("\U0001d4b3" + "k" * 99, ensure_ascii=False)
    return (f"{{{key}:" * levels + inside + "}" * levels).encode()


def found(body: bytes) -> list[str]:
    with pytest.raises(Problem) as refused:
        refuse_templates(body)
    return [error.field for error in refused.value.errors]


def seconds(look: Callable[[], object]) -> float:
    began = time.process_time()
    look()
    return time.process_time() - began


def test_deep_keys_make_a_large_body_no_dearer_to_look_through_than_a_flat_one() -> None:
    flat, under_keys = f"[{ELEMENTS}1]".encode(), deep(f"[{ELEMENTS}1]")
    assert 500_000 < len(under_keys) < LARGEST_BODY_BYTES
    usual = seconds(lambda: refuse_templates(flat))
    assert seconds(lambda: refuse_templates(under_keys)) < _DEARER * usual
    held = deep(f'[{ELEMENTS}{{"{TEMPLATE_KEY}":1}}]')
    assert seconds(lambda: found(held)) < _DEARER * usual
    (where,) = found(held)
    assert len(where) <= 300


def test_a_small_body_is_answered_with_few_words() -> None:
    body = deep("[" + ",".join([f'{{"{TEMPLATE_KEY}":1}}'] * 50) + "]")
    with pytest.raises(Problem) as refused:
        refuse_templates(body)
    assert len(refused.value.errors) == MOST_ERRORS
    assert len(refused.value.response.body) < 2 * len(body)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (rb'{"a": [{}, {"__prefect\u005fkind": 1}]}', "a.1.__prefect_kind"),
        ('{"__prefect_kind": {"__prefect_kind": 1}}'.encode("utf-16"), "__prefect_kind"),
        (b'[[[{"a": []}]], {"": {"__prefect_kind": 1}}]', "1..__prefect_kind"),
    ],
)
def test_the_key_is_found_however_it_is_written(body: bytes, where: str) -> None:
    assert where in found(body)


def test_what_is_nested_without_end_is_refused() -> None:
    assert found(b"[" * 99_999) == ["body"]


@pytest.mark.anyio
async def test_a_route_that_takes_no_body_does_not_look_at_one(
    app: FastAPI, http: httpx.AsyncClient
) -> None:
    sent = {TEMPLATE_KEY: "jinja"}
    async with client(app, None) as stranger:
        for path in ("/health", "/ready"):
            answer = await stranger.request("GET", path, json=sent)
            assert answer.status_code == 200
    answer = await http.request("GET", "/api/v1/background/tasks", content=b"no JSON")
    assert answer.status_code == 200
    problem(await http.post("/api/v1/background/refresh", json=sent), 422)
