"""Our deployments on Prefect: which kind of task each is for, and what its runs are given."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from math import inf
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from api.prefect.rest import Rest
from api.tasks.runner import DEPLOYMENTS, Kind
from autoindex.errors import PartUnavailable

# What an operator changes of a deployment holds for tasks started so much later; while many are
# started, it is read again sooner, and nobody waits for that.
OLD_SECONDS: Final = 5.0
_RIPE_SECONDS: Final = 1.0
# A deployment made anew has another id; asking again for each stray id would double the load.
_KEPT_SECONDS: Final = 10.0

log = logging.getLogger("autoindex.api")


class Deployment(BaseModel):
    """Of a deployment what its runs are given."""

    id: UUID
    flow_id: UUID
    parameters: dict[str, Any]
    tags: list[str]
    work_pool_name: str | None
    work_queue_name: str | None

    @property
    def has_queue(self) -> bool:
        """Whether its runs are put where a worker looks."""
        return self.work_pool_name is not None and self.work_queue_name is not None


class Deployments:
    """Those of `DEPLOYMENTS` that there are, read again when they are old and needed."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._known: dict[Kind, Deployment] = {}
        self._kinds: Mapping[UUID, Kind] = {}
        self._read_at: dict[Kind, float] = {}
        self._reading = {kind: asyncio.Lock() for kind in Kind}
        self._renewing: dict[Kind, asyncio.Task[None]] = {}

    def close(self) -> None:
        """Stop reading."""
        for renewing in self._renewing.values():
            renewing.cancel()

    async def of(self, kind: Kind) -> Deployment:
        """The kind's deployment; raises `PartUnavailable` where there is none that can run."""
        await self._look(kind)
        self._keep_fresh(kind)
        found = self._known.get(kind)
        if found is None:
            raise _unfit(kind, "is missing")
        if not found.has_queue:
            raise _unfit(kind, "has no work queue")
        return found

    async def missing(self) -> list[Kind]:
        """The kinds of which there is no deployment that can run."""
        await asyncio.gather(*(self._look(kind) for kind in DEPLOYMENTS))
        return [kind for kind in DEPLOYMENTS if not self._can_run(kind)]

    def _can_run(self, kind: Kind) -> bool:
        return kind in self._known and self._known[kind].has_queue

    async def _look(self, kind: Kind) -> None:
        """See to it that it is known as it is; one that is missing may be made at any time."""
        await self._renew(kind, OLD_SECONDS if self._can_run(kind) else 0.0)

    async def ids(self, kind: Kind | None = None) -> list[str]:
        """The ids of the kind's deployment, or of all."""
        return [str(id_) for id_, name in (await self.kinds()).items() if kind in (None, name)]

    async def kinds(self) -> Mapping[UUID, Kind]:
        """Every deployment's kind."""
        if len(self._known) < len(DEPLOYMENTS):
            await self._renew_all()
        return self._kinds

    def kind(self, deployment_id: UUID | None) -> Kind | None:
        """What runs of this deployment are; None where it is not known to be ours."""
        return None if deployment_id is None else self._kinds.get(deployment_id)

    async def look_for(self, deployment_ids: Iterable[UUID | None]) -> None:
        """See whether one of these that is not known is ours by now."""
        if any(id_ is not None and id_ not in self._kinds for id_ in deployment_ids):
            await self._renew_all()

    async def _renew_all(self) -> None:
        await asyncio.gather(*(self._renew(kind, _KEPT_SECONDS) for kind in DEPLOYMENTS))

    async def _renew(self, kind: Kind, seconds: float) -> None:
        """Read it, unless it is known as it was at most so long before this question."""
        oldest = time.monotonic() - seconds
        if self._read_at.get(kind, -inf) > oldest:
            return
        async with self._reading[kind]:
            if self._read_at.get(kind, -inf) <= oldest:
                await self._read(kind)

    async def _read(self, kind: Kind) -> None:
        began = time.monotonic()
        flow, name = DEPLOYMENTS[kind]
        path = f"/deployments/name/{flow}/{name}"
        answer = await self._rest.send("GET", path, aside=True)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            self._known.pop(kind, None)
        else:
            found = answer.raise_for_status().content
            self._known[kind] = Deployment.model_validate_json(found)
        self._kinds = {deployment.id: kind for kind, deployment in self._known.items()}
        self._read_at[kind] = began

    def _keep_fresh(self, kind: Kind) -> None:
        ripe = time.monotonic() - self._read_at[kind] > _RIPE_SECONDS
        if ripe and kind not in self._renewing:
            renewing = asyncio.create_task(self._renew(kind, _RIPE_SECONDS))
            self._renewing[kind] = renewing
            renewing.add_done_callback(lambda ended: self._renewed(kind, ended))

    def _renewed(self, kind: Kind, renewing: asyncio.Task[None]) -> None:
        del self._renewing[kind]
        if not renewing.cancelled() and (problem := renewing.exception()) is not None:
            # Whoever finds it old reads it himself, and is told.
            log.warning("the deployment of %s was not read again: %s", kind, problem)


def _unfit(kind: Kind, problem: str) -> PartUnavailable:
    flow, name = DEPLOYMENTS[kind]
    what = f"The deployment {flow}/{name}"
    return PartUnavailable(what, f"{problem}: run `autoindex bootstrap`")
