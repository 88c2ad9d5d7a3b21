"""A real PostgreSQL and a real Prefect server with our deployments, once for all these tests."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Engine

from api.app import create_app
from api.prefect.work_pool import POOL
from api.tasks.runner import DEPLOYMENTS
from autoindex.settings import Settings
from autoindex.storage.postgres import engines
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from deployments import bootstrap
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.api.answers import client
from tests.api.in_memory import InMemory
from tests.bounds import HANG_SECONDS
from tests.prefect_server import LEAN, prefect_server
from tests.shared_servers import until_unused


@pytest.fixture(scope="session")
def api_settings(tmp_path_factory: pytest.TempPathFactory, server: EmbeddedPostgres) -> Settings:
    """Settings of a facade whose database, one for all these tests, has the tables."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("facade"),
        database_url=SecretStr(server.url("facade")),
        # As long as a busy machine takes.
        api_answer_seconds=HANG_SECONDS,
        jwt_secret=SecretStr("correct-horse-battery-staple-and-more"),
        tasks_per_minute=100_000,
        smtp_host="mail.example.com",
        requests_per_minute=100_000,
    )
    bootstrap.prepare_database(settings)
    return settings


@pytest.fixture(scope="session")
def api_engine(api_settings: Settings) -> Iterator[Engine]:
    """The facade's database, to put there what a flow would."""
    engine = engines.engine(api_settings)
    row = {"exchange": "NYSE", "currency": "USD"}
    sectors = {"AAPL": "Technology", "JPM": None}
    rows = [UniverseRow(symbol=name, name=name, sector=sectors[name], **row) for name in sectors]
    with engine.begin() as connection:
        import_universe(connection, rows)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(api_settings: Settings, api_engine: Engine) -> Settings:
    """Settings whose database has a universe."""
    return api_settings


@pytest.fixture
def runner() -> InMemory:
    """Tasks in memory, with one worker online."""
    made = InMemory()
    made.online.append("worker-1")
    return made


@pytest.fixture
async def app(settings: Settings, runner: InMemory) -> AsyncIterator[FastAPI]:
    """The facade on the runner in memory."""
    made = create_app(settings, runner)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose token has every scope."""
    async with client(app) as opened:
        yield opened


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory, api_settings: Settings) -> Iterator[str]:
    """The API of a Prefect server of our own, with the pool, its queues and the deployments."""
    bootstrap.create_prefect_database(api_settings)
    database = bootstrap.prefect_database(api_settings)
    folder = tmp_path_factory.mktemp("prefect")
    with until_unused("prefect_url") as parts:
        url = parts.enter_context(prefect_server(folder, database, LEAN))
        with httpx.Client(base_url=url, timeout=HANG_SECONDS, trust_env=False) as client:
            _register(client)
        yield url


def _register(client: httpx.Client) -> None:
    def post(path: str, body: dict[str, Any]) -> Any:
        answer = client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    post("/work_pools/", {"name": POOL, "type": "autoindex"})
    for flow, name in DEPLOYMENTS.values():
        created = post("/flows/", {"name": flow})
        deployment = {
            "name": name,
            "flow_id": created["id"],
            "work_pool_name": POOL,
            "tags": ["autoindex"],
        }
        post("/deployments/", deployment)
    foreign = post("/flows/", {"name": "somebody-elses"})
    post("/deployments/", {"name": "foreign", "flow_id": foreign["id"], "work_pool_name": POOL})


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """SQLAlchemy's and Prefect's servers' side is asyncio; so are these tests."""
    return "asyncio"
