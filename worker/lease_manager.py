"""The leases of one worker's runs: taken, renewed, and given up."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from autoindex.errors import ConfigurationError, PartUnavailable
from autoindex.storage.runs import leases
from autoindex.storage.runs.leases import Lease
from worker.outages import DATABASE_ERRORS, Outages

_log = logging.getLogger("prefect.workers.autoindex")

# A lease is renewed so many times before it would expire.
_RENEWALS: Final = 5
# This part of a lease's lifetime an answer may take, whatever it waits for.
_PATIENCE: Final = 1 / 3
# Another worker releases a run a moment after it has rescheduled it.
_TAKE_SECONDS: Final = 10.0

P = ParamSpec("P")
R = TypeVar("R")


class LeaseManager:
    """Holds leases for a worker, and says at once which of them are lost.

    Whenever the database begins to answer, `check` says whether it can be relied on.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        worker_name: str,
        lifetime: timedelta,
        outages: Outages,
        check: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.lifetime = lifetime
        self.holder = f"{worker_name} on {socket.gethostname()}, process {os.getpid()}"
        self.reachable_since: float | None = None
        """When the database began to answer without a break, by the loop's clock."""
        self.trouble: str | None = None
        """Why no lease can be held, and so no run be claimed; None where one can."""
        self._engine = engine
        self._outages = outages
        self._check = check
        self._held: dict[UUID, tuple[Lease, Callable[[], Awaitable[None]]]] = {}

    async def take(self, task_id: UUID) -> Lease | None:
        """Hold a task; None where another worker still holds it."""
        deadline = asyncio.get_running_loop().time() + _TAKE_SECONDS
        while True:
            lease = await self.call(leases.take, task_id, self.holder, self.lifetime)
            if lease is not None or asyncio.get_running_loop().time() > deadline:
                return lease
            await asyncio.sleep(0.2)

    def keep(self, lease: Lease, on_lost: Callable[[], Awaitable[None]]) -> None:
        """Renew a lease from now on; `on_lost` is called where another worker has it."""
        self._held[lease.task_id] = (lease, on_lost)

    def drop(self, lease: Lease) -> None:
        """Renew it no longer."""
        self._held.pop(lease.task_id, None)

    async def is_ours(self, lease: Lease) -> bool:
        """Whether nobody has taken it over; it is good for a whole lifetime then."""
        return not await self.call(leases.renew, {lease.task_id: lease.token}, self.lifetime)

    async def renew(self) -> None:
        """Renew every few seconds, for ever."""
        while True:
            await asyncio.sleep(self.lifetime.total_seconds() / _RENEWALS)
            await self.renew_once()

    async def renew_once(self) -> None:
        """Renew every lease, or say in the log and in `trouble` why that is not possible."""
        asked_at = time.monotonic()
        try:
            await self._renew_all()
        except DATABASE_ERRORS as error:
            self._outages.failed("the database", asked_at)
            reason = getattr(error, "orig", None) or error
            self._cannot(f"the database can't be used: {str(reason).strip()}")
        else:
            self._outages.answered("the database")
            await self._can()

    def _cannot(self, trouble: str) -> None:
        if self.trouble is None:
            _log.error("no run is claimed: %s", trouble)
        self.trouble, self.reachable_since = trouble, None

    async def _can(self) -> None:
        if self.reachable_since is not None:
            return
        try:
            await self._in_time(self._check())
        except (ConfigurationError, PartUnavailable, TimeoutError) as error:
            self._cannot(f"the database can't be used: {error}")
            return
        self.reachable_since = asyncio.get_running_loop().time()
        if self.trouble is not None:
            _log.warning("the database can be used again: runs are claimed")
        self.trouble = None

    async def _renew_all(self) -> None:
        tokens = {task_id: lease.token for task_id, (lease, _) in self._held.items()}
        lost = await self.call(leases.renew, tokens, self.lifetime)
        for task_id in lost:
            if task_id in self._held:  # it may have ended meanwhile
                _log.warning("the lease on task %s is lost to another worker", task_id)
                _, on_lost = self._held.pop(task_id)
                await on_lost()

    async def call(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a function of the storage room in a transaction of its own.

        Raises `TimeoutError` where that takes a good part of a lease's lifetime.
        """

        async def ask() -> R:
            async with self._engine.begin() as connection:
                return await connection.run_sync(function, *args, **kwargs)

        return await self._in_time(ask())

    async def _in_time(self, asked: Coroutine[Any, Any, R]) -> R:
        seconds = self.lifetime.total_seconds() * _PATIENCE
        task = asyncio.create_task(asked)
        try:
            await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return task.result()
            raise TimeoutError(f"no answer within {seconds:g} s")
        finally:
            # Not waited for: psycopg gives a server that hangs ten more seconds.
            task.add_done_callback(_hear)
            task.cancel()


def _hear(task: "asyncio.Task[Any]") -> None:
    """Take what a call raises that was given up."""
    if not task.cancelled():
        task.exception()
