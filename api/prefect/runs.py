"""Tasks as Prefect's flow runs, over Prefect's REST API."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from api.prefect import event_stream, states
from api.prefect.activity import Activities
from api.prefect.answers import FlowRun, PastState, Proposal, Proposals, parsed
from api.prefect.batches import PrefectBatches
from api.prefect.deployment_cache import Deployments
from api.prefect.rest import Connection, Rest, Unanswered
from api.prefect.run_reader import (
    JSON,
    LATER_TAG,
    MOST_AT_ONCE,
    RETRIED_AS_TAG,
    RETRY_OF_TAG,
    USER_TAG,
    RunReader,
    in_state,
)
from api.prefect.work_pool import PrefectWorkPool
from api.tasks.batches import MOST_TASKS, Act, TooManyTasks
from api.tasks.runner import (
    Activity,
    Census,
    Kind,
    OutcomeUnknown,
    Page,
    Place,
    Query,
    Started,
    Status,
    Task,
    TaskFinished,
    TaskUnknown,
)
from autoindex.errors import PartUnavailable

TAG: Final = "autoindex"

# The clocks of the facade and of Prefect's server may differ by this much.
_CLOCK_SKEW: Final = timedelta(seconds=5)


class PrefectRunner:
    """Implements `api.tasks.runner.TaskRunner` on a Prefect server.

    No call is retried, and each waits at most `answer_seconds` once it is sent.
    """

    def __init__(self, connection: Connection, *, answer_seconds: float) -> None:
        self._rest = Rest(connection, answer_seconds)
        self._connection = connection
        self._deployments = Deployments(self._rest)
        self._reader = RunReader(self._rest, self._deployments)
        self.pool = PrefectWorkPool(self._rest)
        self.batches = PrefectBatches(self._rest)
        self._activities = Activities(self._rest, self._deployments, self.pool)

    async def aclose(self) -> None:
        """Close connections."""
        await self._deployments.aclose()
        await self._rest.aclose()

    def is_busy(self) -> bool:
        """Whether every slot is taken and Prefect has answered recently."""
        return self._rest.is_busy()

    async def start(
        self,
        kind: Kind,
        parameters: Mapping[str, Any],
        *,
        user: str,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
        retry_of: UUID | None = None,
        run_at: datetime | None = None,
    ) -> Started:
        """Create a flow run of the kind's deployment, on the deployment's queue.

        The run is created directly, with the deployment's values: through the deployment's own
        endpoint, Prefect also reads templates in the parameters and validates them and the job
        variables again, which takes about a third of the call's time.
        """
        deployment = await self._deployments.of(kind)
        ours = [TAG, kind.value, f"{USER_TAG}{user}", *tags]
        if retry_of is not None:
            ours.append(f"{RETRY_OF_TAG}{retry_of}")
        state: JSON = {"type": "SCHEDULED"}
        if run_at is not None:
            ours.append(LATER_TAG)
            state["state_details"] = {"scheduled_time": run_at.isoformat()}
        body = {
            # Until it starts and names itself.
            "name": f"{kind.value} requested by {user}",
            "deployment_id": str(deployment.id),
            "flow_id": str(deployment.flow_id),
            "work_pool_name": deployment.work_pool_name,
            "work_queue_name": deployment.work_queue_name,
            "parameters": {**deployment.parameters, **parameters},
            "tags": [*dict.fromkeys([*deployment.tags, *ours])],
            "idempotency_key": idempotency_key,
            "job_variables": {},
            "state": state,
        }
        try:
            answer = await self._rest.send("POST", "/flow_runs/", body)
            if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                what = f"The flow or the work queue of {kind.value} tasks"
                raise PartUnavailable(what, "is missing: run `autoindex bootstrap`")
            run = parsed(answer, FlowRun)
        except Unanswered as unsure:
            raise OutcomeUnknown(unsure.part, unsure.reason) from unsure
        # To equal requests at one moment Prefect answers 201 each; the tags tell who created it.
        new = answer.status_code == HTTPStatus.CREATED and set(ours) <= set(run.tags)
        return Started(self._reader.task(run, kind), new=new)

    async def mark_retried(self, task_id: UUID, retried_as: UUID) -> None:
        """Add a tag to the flow run."""
        run, _ = await self._reader.run(task_id)
        tags = [*dict.fromkeys([*run.tags, f"{RETRIED_AS_TAG}{retried_as}"])]
        answer = await self._rest.send("PATCH", f"/flow_runs/{task_id}", {"tags": tags})
        answer.raise_for_status()

    async def read(self, task_id: UUID) -> Task:
        """Read a flow run."""
        return self._reader.task(*await self._reader.run(task_id))

    async def read_many(self, task_ids: Collection[UUID]) -> Mapping[UUID, Task]:
        """Read flow runs in one query."""
        if len(task_ids) == 1:
            try:
                return {task.id: task for task in [await self.read(next(iter(task_ids)))]}
            except TaskUnknown:
                return {}
        runs = await self._reader.found({"flow_runs": _among(task_ids)})
        await self._deployments.look_for(run.deployment_id for run in runs)
        return {task.id: task for task in self._reader.tasks(runs)}

    async def changes(self) -> AsyncGenerator[UUID | None]:
        """Hear of changes by Prefect's events."""
        connection = self._connection
        auth = connection.auth_string or connection.key
        token = auth.get_secret_value() if auth else None
        events = event_stream.changed(connection, token)
        async with aclosing(events):
            async for run_id in events:
                yield run_id

    async def cancel(self, task_id: UUID, *, user: str) -> Task:
        """Propose Cancelling; a run that no process has started is Cancelled at once.

        Never Cancelled while a worker may be starting the run: Prefect allows Cancelled to
        Running, but not Cancelling to Running.
        """
        run, _ = await self._reader.run(task_id)
        if run.state.type in states.TERMINAL:
            raise TaskFinished(states.status(run.state.type, run.state.name))
        message = f"Cancelled by {user}"
        reached = await self._propose(task_id, "CANCELLING", message)
        if reached == "CANCELLING" and run.waits_for_a_worker:
            await self._cancel_unless_claimed(task_id, message)
        run, kind = await self._reader.run(task_id)
        task = self._reader.task(run, kind)
        if task.status is not Status.REVOKED:
            raise TaskFinished(task.status)
        return task

    async def _propose(self, task_id: UUID, state_type: str, message: str) -> str | None:
        """Propose a state; returns the type of the state that Prefect's rules chose.

        Never forced, because the rules know of changes that we have not seen yet.
        """
        state = {"type": state_type, "message": message}
        answer = await self._rest.send("POST", f"/flow_runs/{task_id}/set_state", {"state": state})
        reached = parsed(answer, Proposal).state
        return reached.type if reached else None

    async def _cancel_unless_claimed(self, task_id: UUID, message: str) -> None:
        """Finish a cancellation that no worker will finish, because none holds the run.

        A run that waits for its next attempt still has the process id of the last one, so that
        Prefect itself would wait for a process that does not exist.
        """
        answer = await self._rest.send(
            "GET", "/flow_run_states/", query={"flow_run_id": str(task_id)}
        )
        history = sorted(parsed(answer, list[PastState]), key=lambda state: state.timestamp)
        before = [state.type for state in history if state.type != "CANCELLING"]
        if before[-1:] == ["SCHEDULED"]:
            await self._propose(task_id, "CANCELLED", message)

    async def search(
        self, query: Query, *, page: int, per_page: int, after: Place | None = None
    ) -> Page:
        """List runs, newest first, without a schedule's future runs.

        Prefect sorts by the expected start only, so runs of equal time are told apart by their ids.
        """
        filters = await self._filters(query)
        if after is not None:
            filters["flow_runs"]["expected_start_time"]["before_"] = after.due_at.isoformat()
            filters["flow_runs"]["id"] = {"not_any_": [*map(str, after.task_ids)]}
        found, total = await self._reader.page(filters, page=page, limit=per_page)
        # Prefect returns runs of equal time in any order.
        found.sort(key=lambda run: (run.expected_start_time, run.id), reverse=True)
        end = _end(found, after) if len(found) == per_page else None
        return Page(tuple(self._reader.tasks(found)), total, end)

    async def _filters(self, query: Query) -> JSON:
        ids = await self._deployments.ids(query.kind)
        due: JSON = {"before_": (datetime.now(UTC) + _CLOCK_SKEW).isoformat()}
        if query.since is not None:
            due["after_"] = query.since.isoformat()
        runs: JSON = {"deployment_id": {"any_": ids}, "expected_start_time": due}
        if query.user is not None:
            runs["tags"] = {"all_": [f"{USER_TAG}{query.user}"]}
        if query.status is Status.RETRY:
            runs["state"] = {"name": {"any_": [states.AWAITING_RETRY]}}
        elif query.status is not None:
            runs["state"] = in_state(*states.types_of(query.status))
        return {"flow_runs": runs, "sort": "EXPECTED_START_TIME_DESC"}

    async def choose(self, act: Act, query: Query) -> Sequence[Task]:
        """Read the whole list, oldest first, so that new tasks do not shift it."""
        filters = await self._filters(query)
        filters["sort"] = "EXPECTED_START_TIME_ASC"
        runs = filters["flow_runs"]
        if query.status is None:
            types = states.TERMINAL if act is Act.RETRY else states.OPEN
            runs["state"] = {"type": {"any_": sorted(types)}}
        found: dict[UUID, FlowRun] = {}
        while page := await self._reader.found(filters):
            new = {run.id: run for run in page if run.id not in found}
            found |= new
            if len(found) > MOST_TASKS:
                raise TooManyTasks
            last = page[-1].expected_start_time
            if not new or len(page) < MOST_AT_ONCE or last is None:
                break
            runs["expected_start_time"]["after_"] = last.isoformat()
        await self._deployments.look_for(run.deployment_id for run in found.values())
        chosen = self._reader.tasks([*found.values()])
        if act is Act.CANCEL:
            return [task for task in chosen if not task.status.final]
        return [task for task in chosen if task.ended and task.retried_as is None]

    async def cancel_many(self, task_ids: Sequence[UUID], *, user: str) -> int:
        """Propose Cancelling in one request, then as `cancel` does."""
        message = f"Cancelled by {user}"
        reached = await self._propose_to_many(task_ids, "CANCELLING", message)
        unfinished = [task_id for task_id in reached if reached[task_id] == "CANCELLING"]
        for task_id in unfinished:
            await self._cancel_unless_claimed(task_id, message)
        return sum(state in ("CANCELLING", "CANCELLED") for state in reached.values())

    async def _propose_to_many(
        self, task_ids: Collection[UUID], state_type: str, message: str
    ) -> dict[UUID, str]:
        """Propose a state to runs that have not ended; returns the type that each reached."""
        runs = {
            "id": {"any_": [*map(str, task_ids)]},
            "state": {"type": {"any_": sorted(states.OPEN)}},
        }
        state = {"type": state_type, "message": message}
        body = {"flow_runs": runs, "state": state, "limit": len(task_ids)}
        answer = await self._rest.send("POST", "/flow_runs/bulk_set_state", body)
        return {
            result.flow_run_id: result.state.type
            for result in parsed(answer, Proposals).results
            if result.state is not None
        }

    async def missing(self) -> Sequence[Kind]:
        """Kinds of which there is no deployment that can run."""
        return await self._deployments.missing()

    async def activity(self) -> Activity:
        """Read running, due and scheduled runs, in parallel."""
        return await self._activities.activity()

    async def queued(self, kind: Kind, *, later: bool = False) -> int:
        """Count the runs that no worker has claimed."""
        return await self._activities.queued(kind, later=later)

    async def census(self, since: datetime) -> Census:
        """Count runs by Prefect's history, one query a kind."""
        return await self._activities.census(since)


def _end(found: Sequence[FlowRun], after: Place | None) -> Place | None:
    """Where a page ends that begins after a place. Prefect never changes an expected start."""
    due_at = found[-1].expected_start_time
    if due_at is None:
        return None
    known = after.task_ids if after is not None and after.due_at == due_at else ()
    return Place(due_at, (*known, *(run.id for run in found if run.expected_start_time == due_at)))


def _among(run_ids: Collection[UUID]) -> JSON:
    return {"id": {"any_": [str(run_id) for run_id in run_ids]}}
