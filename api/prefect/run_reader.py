"""Flow runs, read from a Prefect server and seen as tasks."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from api.prefect import states
from api.prefect.answers import FlowRun, FlowRuns, parsed
from api.prefect.deployment_cache import Deployments
from api.prefect.rest import Rest
from api.tasks.runner import Kind, Task, TaskUnknown

USER_TAG: Final = "user:"
LATER_TAG: Final = "later"
RETRY_OF_TAG: Final = "retry-of:"
RETRIED_AS_TAG: Final = "retried-as:"
MOST_AT_ONCE: Final = 200
"""The most that Prefect's server returns at once by default."""

JSON = dict[str, Any]


class RunReader:
    """Reads flow runs of our deployments."""

    def __init__(self, rest: Rest, deployments: Deployments) -> None:
        self._rest = rest
        self._deployments = deployments

    async def run(self, task_id: UUID) -> tuple[FlowRun, Kind]:
        """Read one of ours; raises `TaskUnknown`."""
        answer = await self._rest.send("GET", f"/flow_runs/{task_id}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise TaskUnknown
        run = parsed(answer, FlowRun)
        return run, await self._kind(run)

    async def _kind(self, run: FlowRun) -> Kind:
        await self._deployments.look_for([run.deployment_id])
        kind = self._deployments.kind(run.deployment_id)
        if kind is None:
            raise TaskUnknown
        return kind

    async def found(self, filters: JSON) -> list[FlowRun]:
        """Read the first runs that match, without a count of all."""
        answer = await self._rest.send("POST", "/flow_runs/filter", filters)
        return parsed(answer, list[FlowRun])

    async def all(self, filters: JSON, *, aside: bool = False) -> list[FlowRun]:
        """Read every run that matches."""
        found, total = await self.page(filters, page=1, limit=MOST_AT_ONCE, aside=aside)
        page = 1
        while page * MOST_AT_ONCE < total:
            page += 1
            more, total = await self.page(filters, page=page, limit=MOST_AT_ONCE, aside=aside)
            found += more
        return found

    async def page(
        self, filters: JSON, *, page: int, limit: int, aside: bool = False
    ) -> tuple[list[FlowRun], int]:
        """Read a page of the runs that match, and how many do."""
        body = {**filters, "page": page, "limit": limit}
        answer = await self._rest.send("POST", "/flow_runs/paginate", body, aside=aside)
        page_of_runs = parsed(answer, FlowRuns)
        return page_of_runs.results, page_of_runs.count

    def tasks(self, runs: Sequence[FlowRun]) -> list[Task]:
        """The runs of our deployments, as tasks."""
        return [
            self.task(run, kind)
            for run in runs
            if (kind := self._deployments.kind(run.deployment_id)) is not None
        ]

    def task(self, run: FlowRun, kind: Kind) -> Task:
        """A run as a task."""
        state = run.state
        return Task(
            id=run.id,
            kind=kind,
            status=states.status(state.type, state.name),
            user=_tagged(run, USER_TAG),
            parameters=run.parameters,
            queue=run.work_queue_name,
            worker=run.labels.get("prefect.worker.name"),
            due_at=run.next_scheduled_start_time or run.expected_start_time,
            started_at=run.began_at,
            completed_at=run.end_time,
            error=states.error(state.type, state.message),
            retry_of=_task_id(_tagged(run, RETRY_OF_TAG)),
            retried_as=_task_id(_tagged(run, RETRIED_AS_TAG)),
        )


def in_state(*types: str, but_not: str | None = None) -> JSON:
    """A filter for types of states, without runs that wait for a retry or for `but_not`."""
    # Only Scheduled runs can have the name of a retry, so that this excludes no other type.
    names = {"name": {"not_any_": [but_not or states.AWAITING_RETRY]}}
    return {"type": {"any_": list(types)}, **names}


def _tagged(run: FlowRun, prefix: str) -> str | None:
    """What follows this prefix in the run's tags."""
    return next((tag.removeprefix(prefix) for tag in run.tags if tag.startswith(prefix)), None)


def _task_id(tagged: str | None) -> UUID | None:
    # An operator can edit tags.
    try:
        return UUID(tagged) if tagged else None
    except ValueError:
        return None
