"""Whether the facade answers, and whether tasks can be started and run."""

import logging
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from psycopg.errors import UndefinedTable
from sqlalchemy.exc import ProgrammingError

from api.bodies import GuardedRoute
from api.database import Database
from api.dependencies import Runner, Stored
from api.problems import RETRY_AFTER_SECONDS, Problem
from api.schemas import Health, Readiness
from api.tasks import TaskRunner
from autoindex.errors import PartUnavailable
from autoindex.storage.database import AWAY

router = APIRouter(tags=["health"], route_class=GuardedRoute)

_SILENT: Final = "does not answer"
_NO_WORKER: Final = "none is online"
_NO_TABLES: Final = "lacks tables"
_REFUSES: Final = "refuses the facade"
_MISSING: Final = frozenset({_SILENT, _NO_TABLES, _REFUSES, _NO_WORKER})

log = logging.getLogger("autoindex.api")


@router.head("/health", include_in_schema=False)
@router.get("/health", operation_id="readHealth")
async def health() -> Health:
    """Say that the facade answers; asks nobody else."""
    return Health(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", operation_id="readReadiness")
async def ready(runner: Runner, database: Stored) -> Readiness:
    """Check the database, Prefect, and that a worker is online; 503 names what is missing."""
    checks = {"database": await _database(database), **await _prefect(runner)}
    missing = [f"{part}: {found}" for part, found in checks.items() if found in _MISSING]
    if missing:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(missing), headers=headers)
    return Readiness(status="ready", checks=checks)


async def _database(database: Database) -> str:
    try:
        await database.check()
    except AWAY as problem:
        log.warning("not ready: the database does not answer", exc_info=problem)
        return _SILENT
    except ProgrammingError as problem:
        log.warning("not ready: the database can't be used", exc_info=problem)
        return _NO_TABLES if isinstance(problem.orig, UndefinedTable) else _REFUSES
    return "ok"


async def _prefect(runner: TaskRunner) -> dict[str, str]:
    try:
        online = await runner.workers()
    except PartUnavailable as problem:
        log.warning("not ready: %s", problem, exc_info=problem)
        return {"prefect": _SILENT, "worker": "unknown"}
    return {"prefect": "ok", "worker": f"{len(online)} online" if online else _NO_WORKER}
