"""A real facade, and what it shows: levels, weights and tasks that a test sets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pandas as pd
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, delete, insert

from api.auth import tokens
from api.server.http_protocol import GuardedProtocol
from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.index import index_metrics, publications
from autoindex.storage.runs import task_progress
from autoindex.storage.tables import allocations, assets, index_levels, superseded_levels
from autoindex.storage.tables import publications as publications_table
from tests.api.answers import EVERY_SCOPE

WHICH = (Strategy.COMPOSITE, Frequency.MONTHLY)
SESSIONS = pd.bdate_range("2019-01-02", periods=1_000)


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The address of a facade that is served as `python -m api` does."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        chosen = uvicorn.Config(app, http=GuardedProtocol, ws="none", log_level="critical")
        server = uvicorn.Server(chosen)
        serve = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        app.state.subscriptions.close()
        server.should_exit = True
        await serve


def token(app: FastAPI, user: str = "ada", scopes: list[str] = EVERY_SCOPE) -> str:
    return tokens.mint(app.state.settings, user, scopes, timedelta(minutes=30))


def empty(engine: Engine) -> None:
    """Store an index without levels."""
    with engine.begin() as connection:
        for table in (index_levels, superseded_levels, publications_table, allocations):
            connection.execute(delete(table))
        versions.bump(connection, versions.INDEX)


def publish(engine: Engine) -> None:
    """Store 1,000 levels, all but the last ten back-tested, two weights, and metrics."""
    empty(engine)
    grown = [100 * 1.001**number + 3 * (number % 7) for number in range(len(SESSIONS))]
    levels = pd.Series(grown, SESSIONS)
    with engine.begin() as connection:
        for part in (levels[:-10], levels[-10:]):
            publications.publish(connection, *WHICH, part, cause="new sessions", task_id=None)
        values = {"all": {"annual_return": 0.2849, "sharpe_ratio": 1.5, "beta": None}}
        index_metrics.store(connection, *WHICH, SESSIONS[-1].date(), values)
        _weigh(connection, SESSIONS[-20].date())


def _weigh(connection: Connection, session: date) -> None:
    ids = connection.execute(assets.select().order_by(assets.c.symbol)).all()
    which = {"strategy": WHICH[0], "frequency": WHICH[1], "session": session}
    weights = zip(ids, (0.625, 0.375), strict=True)
    rows = [{**which, "asset_id": row.id, "weight": weight, "units": 1} for row, weight in weights]
    connection.execute(insert(allocations).values(rows))


def count(engine: Engine, task_id: UUID, completed: int, total: int) -> None:
    """Report progress, as a flow does."""
    now = datetime.now(UTC)
    with engine.begin() as connection:
        task_progress.enter(connection, task_id, "fetch", now)
        task_progress.count(connection, task_id, completed, total, "symbols fetched", now)
