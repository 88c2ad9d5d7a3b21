"""Batches as flow runs of a flow that nothing executes: a record, and the facade does the work."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from uuid import UUID

from api.prefect.answers import Flow, FlowRun, parsed
from api.prefect.rest import Rest
from api.tasks.batches import Act, Batch, BatchUnknown

_FLOW: Final = "autoindex-batch"


class PrefectBatches:
    """Implements `api.tasks.batches.Batches` on a Prefect server."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def create(self, act: Act, user: str, wanted: str, task_ids: Sequence[UUID]) -> Batch:
        """Store a preview: a run that has ended, so that Prefect removes it in time."""
        flow = await self._rest.send("POST", "/flows/", {"name": _FLOW})
        parameters = {"act": act, "user": user, "wanted": wanted, "task_ids": [*map(str, task_ids)]}
        body = {
            "name": f"{act} of {len(task_ids):,} tasks, previewed by {user}",
            "flow_id": str(parsed(flow, Flow).id),
            "parameters": parameters,
            "state": {"type": "COMPLETED", "name": "Previewed"},
        }
        answer = await self._rest.send("POST", "/flow_runs/", body)
        return _batch(parsed(answer, FlowRun))

    async def read(self, batch_id: UUID) -> Batch:
        """Read a batch; raises `BatchUnknown`."""
        answer = await self._rest.send("GET", f"/flow_runs/{batch_id}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise BatchUnknown
        run = parsed(answer, FlowRun)
        if "wanted" not in run.parameters or run.deployment_id is not None:
            raise BatchUnknown
        return _batch(run)

    async def note(self, batch: Batch) -> None:
        """Store how far a batch is."""
        labels = {"begun": batch.begun, "done": batch.done, "acted": batch.acted}
        path = f"/flow_runs/{batch.id}/labels"
        (await self._rest.send("PATCH", path, labels, aside=True)).raise_for_status()


def _batch(run: FlowRun) -> Batch:
    parameters, labels = run.parameters, run.labels
    return Batch(
        id=run.id,
        act=Act(parameters["act"]),
        user=parameters["user"],
        wanted=parameters["wanted"],
        task_ids=[UUID(task_id) for task_id in parameters["task_ids"]],
        begun=bool(labels.get("begun", False)),
        done=int(labels.get("done", 0)),
        acted=int(labels.get("acted", 0)),
    )
