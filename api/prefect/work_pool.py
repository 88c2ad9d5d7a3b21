"""The work pool on a Prefect server."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from api.prefect.answers import Worker, WorkPool, WorkQueue, parsed
from api.prefect.rest import Rest

POOL: Final = "autoindex"


class PrefectWorkPool:
    """Implements `api.tasks.work_pool.WorkPool` on a Prefect server."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def workers(self) -> Sequence[str]:
        """Names of the pool's workers whose heartbeat is fresh."""
        path = f"/work_pools/{POOL}/workers/filter"
        answer = await self._rest.send("POST", path, {}, aside=True)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return []
        found = parsed(answer, list[Worker])
        return sorted(worker.name for worker in found if worker.status == "ONLINE")

    async def queues(self) -> Mapping[str, bool]:
        """The pool's work queues."""
        path = f"/work_pools/{POOL}/queues/filter"
        answer = await self._rest.send("POST", path, {}, aside=True)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return {}
        found = sorted(parsed(answer, list[WorkQueue]), key=lambda queue: queue.priority)
        return {queue.name: queue.is_paused for queue in found}

    async def pause(self, names: Sequence[str], *, paused: bool) -> Mapping[str, bool]:
        """Set Prefect's own pause of work queues: it hands out no run of a paused one."""
        for name in names:
            path = f"/work_pools/{POOL}/queues/{name}"
            answer = await self._rest.send("PATCH", path, {"is_paused": paused}, aside=True)
            answer.raise_for_status()
        return await self.queues()

    async def owner(self) -> str | None:
        """The pool's description; None where there is no pool yet."""
        answer = await self._rest.send("GET", f"/work_pools/{POOL}", aside=True)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return parsed(answer, WorkPool).description or ""
