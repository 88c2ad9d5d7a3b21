"""Whether tasks use the facade's database, where it reads their results."""

import logging

from api.async_storage import Database
from api.tasks.runner import TaskRunner
from autoindex.errors import ConfigurationError, PartUnavailable
from autoindex.storage.runs import pool_owner

log = logging.getLogger("autoindex.api")


class OtherDatabase(PartUnavailable):
    """Tasks use another database than the facade."""

    def __init__(self) -> None:
        super().__init__("The database", "is not the work pool's: the facade's log says more")


class PoolCheck:
    """Compares the work pool's database with the facade's, until they are known to be the same."""

    def __init__(self, runner: TaskRunner, database: Database) -> None:
        self._runner = runner
        self._database = database
        self._is_ours = False

    async def check(self) -> None:
        """Raise `OtherDatabase`, or what Prefect or the database raise where they do not answer."""
        if self._is_ours:
            return
        described = await self._runner.pool.owner()
        if described:
            ours = await self._database.read(pool_owner.description)
            try:
                pool_owner.check(ours, described)
            except ConfigurationError as error:
                log.error("%s", error)  # noqa: TRY400 - a traceback adds nothing
                raise OtherDatabase from error
        self._is_ours = described is not None
