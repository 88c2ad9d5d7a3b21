"""Worker, scheduler and operator, played on Prefect and in memory, for the contract's tests."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import httpx

from api.prefect.work_pool import POOL
from api.tasks.runner import DEPLOYMENTS, Kind
from tests.api.in_memory import InMemory


class Stage(Protocol):
    """What happens to tasks outside the facade."""

    async def move(
        self, task_id: UUID, state: str, name: str | None = None, message: str | None = None
    ) -> None: ...

    async def claim(self, task_id: UUID, worker: str) -> None: ...

    async def begin(self, task_id: UUID) -> None: ...

    async def schedule(self, kind: Kind, due_in: timedelta) -> UUID: ...

    async def worker_online(self, name: str) -> None: ...


class MemoryStage:
    """Plays on `InMemory`."""

    def __init__(self, runner: InMemory) -> None:
        self.runner = runner

    async def move(
        self, task_id: UUID, state: str, name: str | None = None, message: str | None = None
    ) -> None:
        self.runner.runs[task_id].move(state, name, message)

    async def claim(self, task_id: UUID, worker: str) -> None:
        self.runner.runs[task_id].worker = worker
        self.runner.runs[task_id].move("PENDING")

    async def begin(self, task_id: UUID) -> None:
        self.runner.runs[task_id].begin()

    async def schedule(self, kind: Kind, due_in: timedelta) -> UUID:
        return self.runner.schedule(kind, {}, due_in).id

    async def worker_online(self, name: str) -> None:
        self.runner.online.append(name)


class PrefectStage:
    """Plays on a real Prefect server."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = await self.client.post(path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def move(
        self, task_id: UUID, state: str, name: str | None = None, message: str | None = None
    ) -> None:
        proposed: dict[str, Any] = {"type": state, "name": name, "message": message}
        if state == "SCHEDULED":
            soon = datetime.now(UTC) + timedelta(seconds=60)
            proposed["state_details"] = {"scheduled_time": soon.isoformat()}
        body = {"state": proposed, "force": True}
        await self._post(f"/flow_runs/{task_id}/set_state", body)

    async def claim(self, task_id: UUID, worker: str) -> None:
        labels = {"prefect.worker.name": worker}
        answer = await self.client.patch(f"/flow_runs/{task_id}/labels", json=labels)
        answer.raise_for_status()
        await self.move(task_id, "PENDING")
        answer = await self.client.patch(
            f"/flow_runs/{task_id}", json={"infrastructure_pid": "host:1"}
        )
        answer.raise_for_status()

    async def begin(self, task_id: UUID) -> None:
        # As an engine does: proposed, so that Prefect's rules decide.
        await self._post(f"/flow_runs/{task_id}/set_state", {"state": {"type": "RUNNING"}})

    async def schedule(self, kind: Kind, due_in: timedelta) -> UUID:
        flow, name = DEPLOYMENTS[kind]
        answer = await self.client.get(f"/deployments/name/{flow}/{name}")
        due = (datetime.now(UTC) + due_in).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
        created = await self._post(
            f"/deployments/{answer.json()['id']}/create_flow_run", {"state": state}
        )
        return UUID(created["id"])

    async def worker_online(self, name: str) -> None:
        body = {"name": name, "heartbeat_interval_seconds": 30}
        await self._post(f"/work_pools/{POOL}/workers/heartbeat", body)
