"""The leases of one worker's runs: taken, renewed, and released."""

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
from autoindex.storage import schema_revision
from autoindex.storage.runs import leases
from autoindex.storage.runs.leases import Lease
from worker.outages import DATABASE_ERRORS, Outages

_log = logging.getLogger("prefect.workers.autoindex")

# Renewals within a lease's lifetime.
_RENEWALS: Final = 5
# The part of a lease's lifetime that a call may take.
_CALL_SHARE: Final = 1 / 3
# Another worker reschedules a run a moment before it releases its lease.
_TAKE_SECONDS: Final = 10.0

P = ParamSpec("P")
R = TypeVar("R")


class LeaseManager:
    """Holds leases for a worker, and reports at once which of them are lost.

    Whenever the database answers again, `check` says whether it can be relied on.
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
        """Since when the database has always answered, by the loop's clock."""
        self.trouble: str | None = None
        """Why no lease can be held, and so no run be claimed; None where there is no reason."""
        self._engine = engine
        self._outages = outages
        self._check = check
        self._held: dict[UUID, tuple[Lease, Callable[[], Awaitable[None]]]] = {}

    async def take(self, task_id: UUID) -> Lease | None:
        """Take a task's lease; None where another worker still holds it."""
        deadline = asyncio.get_running_loop().time() + _TAKE_SECONDS
        while True:
            lease = await self.call(leases.take, task_id, self.holder, self.lifetime)
            if lease is not None or asyncio.get_running_loop().time() > deadline:
                return lease
            await asyncio.sleep(0.2)

    def keep(self, lease: Lease, on_lost: Callable[[], Awaitable[None]]) -> None:
        """Renew a lease from now on; `on_lost` is called when another worker has taken it."""
        self._held[lease.task_id] = (lease, on_lost)

    def drop(self, lease: Lease) -> None:
        """Stop renewing a lease."""
        self._held.pop(lease.task_id, None)

    async def is_ours(self, lease: Lease) -> bool:
        """Whether no other worker has taken it over; it is renewed then."""
        return not await self.call(leases.renew, {lease.task_id: lease.token}, self.lifetime)

    async def renew(self) -> None:
        """Renew all leases every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(self.lifetime.total_seconds() / _RENEWALS)
            await self.renew_once()

    async def renew_once(self) -> None:
        """Renew every lease, or set `trouble` and log why that is not possible."""
        asked_at = time.monotonic()
        try:
            await self._renew_all()
            await self.call(schema_revision.check)
        except DATABASE_ERRORS as error:
            self._outages.failed("the database", asked_at)
            reason = getattr(error, "orig", None) or error
            self._block(f"the database can't be used: {str(reason).strip()}")
        except ConfigurationError as error:
            self._outages.answered("the database")
            self._block(str(error), anew=str(error) != self.trouble)
        else:
            self._outages.answered("the database")
            await self._unblock()

    def _block(self, trouble: str, *, anew: bool = False) -> None:
        if self.trouble is None or anew:
            _log.error("no run is claimed: %s", trouble)
        self.trouble, self.reachable_since = trouble, None

    async def _unblock(self) -> None:
        if self.reachable_since is not None:
            return
        try:
            await self._within_time_out(self._check())
        except (ConfigurationError, PartUnavailable, TimeoutError) as error:
            self._block(f"the database can't be used: {error}")
            return
        self.reachable_since = asyncio.get_running_loop().time()
        if self.trouble is not None:
            _log.warning("the database can be used again: runs are claimed")
        self.trouble = None

    async def _renew_all(self) -> None:
        tokens = {task_id: lease.token for task_id, (lease, _) in self._held.items()}
        lost = await self.call(leases.renew, tokens, self.lifetime)
        for task_id in lost:
            if task_id in self._held:  # or it has ended meanwhile
                _log.warning("another worker has taken the lease of task %s", task_id)
                _, on_lost = self._held.pop(task_id)
                await on_lost()

    async def call(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a function of `autoindex.storage` in a transaction of its own.

        Raises `TimeoutError` after a third of a lease's lifetime.
        """

        async def transaction() -> R:
            async with self._engine.begin() as connection:
                return await connection.run_sync(function, *args, **kwargs)

        return await self._within_time_out(transaction())

    async def _within_time_out(self, call: Coroutine[Any, Any, R]) -> R:
        seconds = self.lifetime.total_seconds() * _CALL_SHARE
        task = asyncio.create_task(call)
        try:
            await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return task.result()
            raise TimeoutError(f"no answer within {seconds:g} s")
        finally:
            # Not awaited: psycopg gives a server that hangs ten more seconds.
            task.add_done_callback(_ignore)
            task.cancel()


def _ignore(task: "asyncio.Task[Any]") -> None:
    """Retrieve the error of a call that was cancelled, or asyncio logs it."""
    if not task.cancelled():
        task.exception()
