"""Our deployments on Prefect: the kind of task of each, and what its runs get."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus
from math import inf
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from api.cached_value import CachedValue
from api.prefect.answers import parsed
from api.prefect.rest import Rest
from api.tasks.runner import DEPLOYMENTS, Kind
from autoindex.errors import PartUnavailable

# A change of a deployment applies to tasks that are started this much later. While many are
# started, it is read again sooner, in the background.
OLD_SECONDS: Final = 5.0
_REFRESH_SECONDS: Final = 1.0
# A deployment that is created again has another id. A read for each unknown id would double the
# load.
_KEPT_SECONDS: Final = 10.0


class Deployment(BaseModel):
    """The fields of a deployment that its runs get."""

    id: UUID
    flow_id: UUID
    parameters: dict[str, Any]
    tags: list[str]
    work_pool_name: str | None
    work_queue_name: str | None

    @property
    def has_queue(self) -> bool:
        """Whether its runs are put into a queue that a worker polls."""
        return self.work_pool_name is not None and self.work_queue_name is not None


class Deployments:
    """Those of `DEPLOYMENTS` that exist, read again when they are old and needed."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._all = {
            kind: CachedValue(f"the deployment of {kind} tasks", partial(self._read, kind))
            for kind in DEPLOYMENTS
        }

    async def aclose(self) -> None:
        """Stop reading."""
        for cached in self._all.values():
            await cached.aclose()

    async def of(self, kind: Kind) -> Deployment:
        """The kind's deployment; raises `PartUnavailable` where there is none that can run."""
        found = await self._find(kind, _REFRESH_SECONDS)
        if found is None:
            raise _unusable(kind, "is missing")
        if not found.has_queue:
            raise _unusable(kind, "has no work queue")
        return found

    async def missing(self) -> list[Kind]:
        """The kinds without a deployment that can run."""
        found = await asyncio.gather(*(self._find(kind) for kind in DEPLOYMENTS))
        return [
            kind
            for kind, deployment in zip(DEPLOYMENTS, found, strict=True)
            if deployment is None or not deployment.has_queue
        ]

    async def _find(self, kind: Kind, refresh_age: float = inf) -> Deployment | None:
        """The kind's deployment; one that is missing may be created at any time."""
        cached = self._all[kind]
        can_run = cached.value is not None and cached.value.has_queue
        return await cached.get(OLD_SECONDS if can_run else 0.0, refresh_age)

    async def ids(self, kind: Kind | None = None) -> list[str]:
        """The ids of the kind's deployment, or of all."""
        return [str(id_) for id_, name in (await self.kinds()).items() if kind in (None, name)]

    async def kinds(self) -> Mapping[UUID, Kind]:
        """Every deployment's kind."""
        if any(cached.value is None for cached in self._all.values()):
            await self._read_all()
        return self._known()

    def kind(self, deployment_id: UUID | None) -> Kind | None:
        """The kind of this deployment's runs; None where it is not known to be ours."""
        return None if deployment_id is None else self._known().get(deployment_id)

    async def look_for(self, deployment_ids: Iterable[UUID | None]) -> None:
        """Read the deployments again where one of these is unknown."""
        known = self._known()
        if any(id_ is not None and id_ not in known for id_ in deployment_ids):
            await self._read_all()

    def _known(self) -> Mapping[UUID, Kind]:
        return {
            cached.value.id: kind for kind, cached in self._all.items() if cached.value is not None
        }

    async def _read_all(self) -> None:
        await asyncio.gather(*(cached.get(_KEPT_SECONDS) for cached in self._all.values()))

    async def _read(self, kind: Kind) -> Deployment | None:
        flow, name = DEPLOYMENTS[kind]
        path = f"/deployments/name/{flow}/{name}"
        answer = await self._rest.send("GET", path, aside=True)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return parsed(answer, Deployment)


def _unusable(kind: Kind, problem: str) -> PartUnavailable:
    flow, name = DEPLOYMENTS[kind]
    what = f"The deployment {flow}/{name}"
    return PartUnavailable(what, f"{problem}: run `autoindex bootstrap`")
