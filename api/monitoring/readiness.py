"""Whether a task could run now: each part is checked at most once a second."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from psycopg.errors import UndefinedTable
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from api.async_storage import Database
from api.cached_value import CachedValue
from api.tasks.deadline import Deadline
from api.tasks.pool_check import OtherDatabase, PoolCheck
from api.tasks.runner import Kind, TaskRunner
from autoindex.errors import ConfigurationError, PartUnavailable
from autoindex.storage.postgres.transient import UNAVAILABLE

_KEPT_SECONDS: Final = 1.0

_SILENT: Final = "does not answer"
_UNKNOWN: Final = "unknown"
_NO_WORKER: Final = "none is online"
_NO_TABLES: Final = "lacks tables"
_OTHER_VERSION: Final = "is at another version's revision, the facade's log says more"
_REFUSES: Final = "refuses the facade"
_OTHER: Final = "is not the work pool's, the facade's log says more"
_NOT_DEPLOYED: Final = "not all are there, run `autoindex bootstrap`"
MISSING: Final = frozenset(
    {_SILENT, _NO_TABLES, _OTHER_VERSION, _REFUSES, _NO_WORKER, _OTHER, _NOT_DEPLOYED}
)

log = logging.getLogger("autoindex.api")


class ReadyChecks:
    """Checks the database and Prefect, at most once a second.

    /ready needs no token: a flood of requests must not become a flood of checks.
    """

    def __init__(
        self, runner: TaskRunner, database: Database, owner: PoolCheck, deadline: Deadline
    ) -> None:
        self._runner = runner
        self._database = database
        self._owner = owner
        self._deadline = Deadline(deadline.part_seconds)
        self._found = CachedValue("readiness", self._check)

    async def found(self) -> Mapping[str, str]:
        """The state of each part; one of `MISSING` where a task could not run."""
        return await self._found.get(_KEPT_SECONDS)

    async def _check(self) -> Mapping[str, str]:
        database, prefect, is_shared = await asyncio.gather(
            self._check_database(), self._check_prefect(), self._is_shared()
        )
        return {"database": database if is_shared else _OTHER, **prefect}

    async def _is_shared(self) -> bool:
        try:
            await self._deadline.answer(self._owner.check())
        except OtherDatabase:
            return False
        except (TimeoutError, PartUnavailable, SQLAlchemyError):
            pass  # the other checks report it
        return True

    async def _check_database(self) -> str:
        try:
            await self._deadline.answer(self._database.check())
        except (TimeoutError, *UNAVAILABLE) as problem:
            log.warning("not ready: the database does not answer", exc_info=problem)
            return _SILENT
        except ConfigurationError as problem:
            log.warning("not ready: %s", problem)
            return _OTHER_VERSION
        except ProgrammingError as problem:
            log.warning("not ready: the database can't be used", exc_info=problem)
            return _NO_TABLES if isinstance(problem.orig, UndefinedTable) else _REFUSES
        return "ok"

    async def _check_prefect(self) -> dict[str, str]:
        try:
            online, missing, queues = await self._deadline.answer(self._set_up())
        except (TimeoutError, PartUnavailable) as problem:
            log.warning("not ready: Prefect does not answer", exc_info=problem)
            unknown = dict.fromkeys(("deployments", "worker", "queues"), _UNKNOWN)
            return {"prefect": _SILENT, **unknown}
        paused = [name for name, is_paused in queues.items() if is_paused]
        return {
            "prefect": "ok",
            "deployments": _NOT_DEPLOYED if missing else "ok",
            "worker": f"{len(online)} online" if online else _NO_WORKER,
            # An operator's decision: tasks are taken, and start when it is resumed.
            "queues": f"paused: {', '.join(paused)}" if paused else "ok",
        }

    async def _set_up(self) -> tuple[Sequence[str], Sequence[Kind], Mapping[str, bool]]:
        return await asyncio.gather(
            self._runner.pool.workers(), self._runner.missing(), self._runner.pool.queues()
        )
