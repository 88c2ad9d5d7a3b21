"""The ends of tasks, told to webhooks: each with an id that follows from it, so once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from sqlalchemy import Connection

from autoindex.storage.runs import cancellations, shared_tasks
from autoindex.storage.webhooks import outbox
from autoindex.webhooks.events import Event
from worker.outages import CALL_ERRORS, without_client_retries

_log = logging.getLogger("prefect.workers.autoindex")

# Tags of our runs: see prefect.yaml and `api.prefect.run_reader`.
_KINDS: Final = frozenset({"refresh", "compute", "report", "cleanup"})
_USER_TAG: Final = "user:"
_LOOK_SECONDS: Final = 5.0
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Ended:
    """A task's end, and who has started it: None for a schedule or an operator."""

    task_id: UUID
    owner: str | None
    event: Event


def ended(run: FlowRun, state: State) -> Ended | None:
    """The end of a run in a final state; None where it is no task of ours."""
    kind = next((tag for tag in run.tags if tag in _KINDS), None)
    if kind is None:
        return None
    status = "success" if state.is_completed() else "revoked" if state.is_cancelled() else "failure"
    data = {"task_id": str(run.id), "kind": kind, "status": status}
    tagged = [tag.removeprefix(_USER_TAG) for tag in run.tags if tag.startswith(_USER_TAG)]
    # A final state that is restored has another id; a run that is run again has another count.
    event = Event(f"msg_{run.id.hex}_{run.run_count}", "task.ended", state.timestamp, data)
    return Ended(run.id, next(iter(tagged), None), event)


def tell(connection: Connection, ended: Ended) -> None:
    """Tell those who have asked for the task, in the transaction that ends it."""
    users = shared_tasks.told(connection, ended.task_id, ended.owner)
    outbox.tell(connection, ended.event, users)


class CancelledTasks:
    """Tells of the tasks that were cancelled before a worker held them."""

    def __init__(self, client: PrefectClient, call: Callable[..., Awaitable[Any]]) -> None:
        self._client = client
        self._call = call

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            try:
                await self.look()
            except CALL_ERRORS as error:
                _log.warning("ends of cancelled tasks can't be told yet: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Tell of those that have ended, and forget them with those that Prefect has deleted."""
        waiting = await self._call(cancellations.load)
        for first in range(0, len(waiting), _PAGE):
            task_ids = waiting[first : first + _PAGE]
            found = await self._runs(task_ids)
            over = {run.id: run for run in found if run.state is not None and run.state.is_final()}
            gone = set(task_ids) - {run.id for run in found}
            await self._call(_tell_all, [*over.values()], [*gone, *over])

    async def _runs(self, task_ids: Sequence[UUID]) -> list[FlowRun]:
        with without_client_retries():
            chosen = FlowRunFilter(id=FlowRunFilterId(any_=list(task_ids)))
            return await self._client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE)


def _tell_all(connection: Connection, runs: Sequence[FlowRun], over: Sequence[UUID]) -> None:
    for run in runs:
        if run.state is not None and (end := ended(run, run.state)) is not None:
            tell(connection, end)
    cancellations.forget(connection, over)
