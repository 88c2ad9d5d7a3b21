"""Reading the index while it is written: nobody sees superseded numbers, nor half of new ones."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import date
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from api.app import create_app
from autoindex.requests import Frequency, Strategy
from autoindex.settings import Settings
from autoindex.storage.index import allocations as stored_allocations
from autoindex.storage.index import index_metrics, publications
from autoindex.storage.universe import assets
from tests.api.answers import client
from tests.api.in_memory import InMemory
from tests.redis_server import redis_server, url

pytestmark = pytest.mark.anyio

WHICH = (Strategy.MOMENTUM, Frequency.DAILY)
QUERY = {"strategy": "momentum", "frequency": "daily"}
DAYS = pd.bdate_range("2022-01-03", periods=40, unit="ns")
GENERATIONS = 60


class Writer:
    """Stores the index again and again; every number is the number of the time it was stored."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.committed = 0
        with engine.connect() as connection:
            found = assets.list_assets(connection)
        self.ids = {asset.symbol: asset.id for asset in found}

    def write(self) -> None:
        for generation in range(1, GENERATIONS + 1):
            self.store(generation)
            self.committed = generation

    def store(self, generation: int) -> None:
        share = pd.DataFrame(
            np.full((len(DAYS), len(self.ids)), generation / 1_000), DAYS, list(self.ids)
        )
        rows = stored_allocations.Allocations(share, share)
        with self.engine.begin() as connection:
            made = pd.Series(float(generation), DAYS)
            publications.publish(connection, *WHICH, made, cause="a test", task_id=None)
            stored_allocations.store(
                connection, *WHICH, [stored_allocations.Held.of(rows, self.ids)], date(2022, 1, 3)
            )
            index_metrics.store(
                connection, *WHICH, DAYS[-1].date(), {"all": {"sharpe_ratio": generation}}
            )


def shown(answer: httpx.Response) -> set[float]:
    """The generations an answer shows."""
    if answer.headers["content-type"].startswith("text/csv"):
        head, *rows = csv.reader(io.StringIO(answer.text))
        number = next(head.index(name) for name in ("value", "weight", "level") if name in head)
        return {float(row[number]) for row in rows}
    content: dict[str, Any] = answer.json()
    if "metrics" in content:
        return {row["values"]["all"]["sharpe_ratio"] for row in content["metrics"]}
    if "allocations" in content:
        return {round(row["weight"] * 1_000, 6) for row in content["allocations"]}
    return {row["level"] for row in content["levels"]}


@pytest.fixture(scope="module")
def redis_url() -> Iterator[SecretStr]:
    with redis_server() as path:
        yield SecretStr(url(path))


@pytest.fixture
async def facades(
    settings: Settings, redis_url: SecretStr
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two facades with a cache each, and two that share one in Redis."""
    shared = settings.model_copy(update={"redis_url": redis_url})
    async with AsyncExitStack() as opened:
        clients = []
        for chosen in (settings, settings, shared, shared):
            app = create_app(chosen, InMemory())
            await opened.enter_async_context(app.router.lifespan_context(app))
            clients.append(await opened.enter_async_context(client(app)))
        yield clients


async def test_no_reader_sees_old_numbers_after_a_commit(
    facades: list[httpx.AsyncClient], api_engine: Engine
) -> None:
    writer = Writer(api_engine)
    writer.store(0)
    tags: dict[tuple[str, str, str], set[float]] = {}
    reads = 0

    async def read(http: httpx.AsyncClient, table: str, accept: str) -> None:
        nonlocal reads
        known = ""
        while writer.committed < GENERATIONS:
            before = writer.committed
            headers = {"Accept": accept, "If-None-Match": known}
            answer = await http.get(f"/api/v1/index/{table}", params=QUERY, headers=headers)
            tag = (table, accept, answer.headers["etag"])
            if answer.status_code == 200:
                tags.setdefault(tag, shown(answer))
                assert shown(answer) == tags[tag]
            else:
                assert answer.status_code == 304
            (generation,) = tags[tag]
            assert generation >= before
            known = answer.headers["etag"]
            reads += 1

    jobs = [
        read(http, table, accept)
        for http in facades
        for table, accept in (
            ("levels", "application/json"),
            ("levels", "text/csv"),
            ("metrics", "application/json"),
            ("allocations", "application/json"),
        )
    ]
    await asyncio.gather(asyncio.to_thread(writer.write), *jobs)
    assert reads > GENERATIONS
    for http in facades:
        answer = await http.get("/api/v1/index/levels", params=QUERY)
        assert shown(answer) == {float(GENERATIONS)}


async def test_a_page_is_made_once_and_shared(
    facades: list[httpx.AsyncClient], api_engine: Engine
) -> None:
    Writer(api_engine).store(7)
    _, _, one, other = facades
    first = await one.get("/api/v1/index/levels", params=QUERY)
    # Behind the version's back, which nothing of ours does: only the cache still knows.
    with api_engine.begin() as connection:
        connection.exec_driver_sql("update index_levels set level = -1 where strategy = 'momentum'")
    assert (await one.get("/api/v1/index/levels", params=QUERY)).content == first.content
    assert (await other.get("/api/v1/index/levels", params=QUERY)).content == first.content


async def test_a_database_made_anew_has_other_tags(
    facades: list[httpx.AsyncClient], api_engine: Engine
) -> None:
    writer = Writer(api_engine)
    writer.store(1)
    before = await facades[2].get("/api/v1/index/levels", params=QUERY)
    with api_engine.begin() as connection:
        connection.exec_driver_sql("update index_levels set level = 2 where strategy = 'momentum'")
        connection.exec_driver_sql(
            "update data_versions set changed_at = changed_at + interval '1 s'"
        )
    headers = {"If-None-Match": before.headers["etag"]}
    after = await facades[2].get("/api/v1/index/levels", params=QUERY, headers=headers)
    assert (after.status_code, shown(after)) == (200, {2.0})
