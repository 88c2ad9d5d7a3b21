"""Tasks as Prefect's flow runs, over Prefect's REST API.

With `answers` and `event_stream`, the only place that knows the form of Prefect's answers.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from api.prefect import event_stream, states
from api.prefect.answers import (
    FlowRun,
    FlowRuns,
    History,
    PastState,
    Proposal,
    Worker,
    WorkPool,
    WorkQueue,
    parsed,
)
from api.prefect.batches import Batches
from api.prefect.deployment_cache import Deployments
from api.prefect.rest import Connection, Rest, Unanswered
from api.tasks.batches import MOST_TASKS, Act, Batch, TooManyTasks
from api.tasks.runner import (
    Activity,
    Census,
    Kind,
    OutcomeUnknown,
    Page,
    Query,
    QueueUnknown,
    Started,
    Status,
    Task,
    TaskFinished,
    TaskUnknown,
)
from autoindex.errors import PartUnavailable

POOL: Final = "autoindex"
TAG: Final = "autoindex"
USER_TAG: Final = "user:"
_LATER: Final = "later"
_RETRY_OF: Final = "retry-of:"
_RETRIED_AS: Final = "retried-as:"

# The most that Prefect's server returns at once by default.
_MOST_AT_ONCE: Final = 200
# The clocks of the facade and of Prefect's server may differ by this much.
_CLOCK_SKEW: Final = timedelta(seconds=5)
_BEGUN: Final = ("RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLING")
# Runs are kept for 90 days.
_HISTORY_DAYS: Final = 100

JSON = dict[str, Any]


class PrefectRunner:
    """Implements `api.tasks.runner.TaskRunner` on a Prefect server.

    No call is retried, and each waits at most `answer_seconds` once it is sent.
    """

    def __init__(self, connection: Connection, *, answer_seconds: float) -> None:
        self._rest = Rest(connection, answer_seconds)
        self._connection = connection
        self._deployments = Deployments(self._rest)
        self._batches = Batches(self._rest)

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
            ours.append(f"{_RETRY_OF}{retry_of}")
        state: JSON = {"type": "SCHEDULED"}
        if run_at is not None:
            ours.append(_LATER)
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
        return Started(self._task(run, kind), new=answer.status_code == HTTPStatus.CREATED)

    async def mark_retried(self, task_id: UUID, retried_as: UUID) -> None:
        """Add a tag to the flow run."""
        run, _ = await self._run(task_id)
        tags = [*dict.fromkeys([*run.tags, f"{_RETRIED_AS}{retried_as}"])]
        answer = await self._rest.send("PATCH", f"/flow_runs/{task_id}", {"tags": tags})
        answer.raise_for_status()

    async def read(self, task_id: UUID) -> Task:
        """Read a flow run."""
        return self._task(*await self._run(task_id))

    async def read_many(self, task_ids: Collection[UUID]) -> Mapping[UUID, Task]:
        """Read flow runs in one query."""
        if len(task_ids) == 1:
            try:
                return {task.id: task for task in [await self.read(next(iter(task_ids)))]}
            except TaskUnknown:
                return {}
        runs = await self._found({"flow_runs": _among(task_ids)})
        await self._deployments.look_for(run.deployment_id for run in runs)
        return {task.id: task for task in self._tasks(runs)}

    async def changes(self) -> AsyncGenerator[UUID | None]:
        """Hear of changes by Prefect's events."""
        connection = self._connection
        auth = connection.auth_string or connection.key
        token = auth.get_secret_value() if auth else None
        events = event_stream.changed(str(connection.url), connection.authorization, token)
        async with aclosing(events):
            async for run_id in events:
                yield run_id

    async def cancel(self, task_id: UUID, *, user: str) -> Task:
        """Propose Cancelling; a run that no process has started is Cancelled at once.

        Never Cancelled while a worker may be starting the run: Prefect allows Cancelled to
        Running, but not Cancelling to Running.
        """
        run, _ = await self._run(task_id)
        if run.state.type in states.TERMINAL:
            raise TaskFinished(states.status(run.state.type, run.state.name))
        message = f"Cancelled by {user}"
        reached = await self._propose(task_id, "CANCELLING", message)
        if reached == "CANCELLING" and run.waits_for_a_worker:
            await self._cancel_unless_claimed(task_id, message)
        run, kind = await self._run(task_id)
        task = self._task(run, kind)
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

    async def search(self, query: Query, *, page: int, per_page: int) -> Page:
        """List runs, newest first, without a schedule's future runs."""
        filters = await self._filters(query)
        found, total = await self._runs(filters, page=page, limit=per_page)
        # Prefect returns runs of equal time in any order.
        found.sort(key=lambda run: (run.expected_start_time, run.id), reverse=True)
        return Page(tuple(self._tasks(found)), total)

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
            runs["state"] = _in_state(*states.types_of(query.status))
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
        while page := await self._found(filters):
            new = {run.id: run for run in page if run.id not in found}
            found |= new
            if len(found) > MOST_TASKS:
                raise TooManyTasks
            last = page[-1].expected_start_time
            if not new or len(page) < _MOST_AT_ONCE or last is None:
                break
            runs["expected_start_time"]["after_"] = last.isoformat()
        await self._deployments.look_for(run.deployment_id for run in found.values())
        chosen = self._tasks([*found.values()])
        if act is Act.CANCEL:
            return [task for task in chosen if not task.status.final]
        return [task for task in chosen if task.ended and task.retried_as is None]

    async def cancel_many(self, task_ids: Sequence[UUID], *, user: str) -> int:
        """Propose Cancelling in one request, then as `cancel` does."""
        message = f"Cancelled by {user}"
        reached = await self._batches.cancelling(task_ids, message)
        unfinished = [task_id for task_id in reached if reached[task_id] == "CANCELLING"]
        for task_id in unfinished:
            await self._cancel_unless_claimed(task_id, message)
        return sum(state in ("CANCELLING", "CANCELLED") for state in reached.values())

    async def create_batch(
        self, act: Act, user: str, wanted: str, task_ids: Sequence[UUID]
    ) -> Batch:
        """Store the tasks that a request has chosen."""
        return await self._batches.create(act, user, wanted, task_ids)

    async def read_batch(self, batch_id: UUID) -> Batch:
        """Read a batch; raises `BatchUnknown`."""
        return await self._batches.read(batch_id)

    async def note_batch(self, batch: Batch) -> None:
        """Store how far a batch is."""
        await self._batches.note(batch)

    async def activity(self) -> Activity:
        """Read running, due and scheduled runs, in parallel."""
        ids = {"deployment_id": {"any_": await self._deployments.ids()}}
        now = datetime.now(UTC).isoformat()
        scheduled = _in_state("SCHEDULED", but_not=states.AWAITING_RETRY)
        due = {**ids, "state": scheduled, "next_scheduled_start_time": {"before_": now}}
        later = {**ids, "state": scheduled, "next_scheduled_start_time": {"after_": now}}
        held = {
            "operator": "or_",
            "type": {"any_": ["PAUSED"]},
            "name": {"any_": [states.AWAITING_RETRY]},
        }
        groups = (
            {**ids, "state": _in_state("RUNNING", "CANCELLING")},
            {**ids, "state": _in_state("PENDING")},
            due,
            {**ids, "state": held},
            later,
        )
        running, claimed, ready, waiting, planned = await asyncio.gather(
            *(self._group(group) for group in groups)
        )
        return Activity(
            active=running,
            reserved=_joined(claimed, ready),
            scheduled=_joined(waiting, planned),
            workers=await self.workers(),
            paused=_paused(await self.queues()),
        )

    async def _group(self, flow_runs: JSON) -> Page:
        filters = {"flow_runs": flow_runs, "sort": "NEXT_SCHEDULED_START_TIME_ASC"}
        found, total = await self._runs(filters, page=1, limit=_MOST_AT_ONCE)
        return Page(tuple(self._tasks(found)), total)

    async def queued(self, kind: Kind, *, later: bool = False) -> int:
        """Count the runs that no worker has claimed."""
        runs: JSON = {
            "deployment_id": {"any_": await self._deployments.ids(kind)},
            "state": _in_state("SCHEDULED"),
            "next_scheduled_start_time": {
                "after_" if later else "before_": datetime.now(UTC).isoformat()
            },
        }
        if later:
            runs["tags"] = {"all_": [_LATER]}
        answer = await self._rest.send("POST", "/flow_runs/count", {"flow_runs": runs}, aside=True)
        return parsed(answer, int)

    async def census(self, since: datetime) -> Census:
        """Count runs by Prefect's history, one query a kind."""
        kinds = await self._deployments.kinds()
        counted = await asyncio.gather(*(self._counted(*known) for known in kinds.items()))
        ids = {"deployment_id": {"any_": await self._deployments.ids()}}
        # For a run that has not started Prefect uses its due time.
        begun = {
            **ids,
            "state": _in_state(*_BEGUN),
            "start_time": {"after_": since.isoformat(), "is_null_": False},
        }
        started = await self._all({"flow_runs": begun, "sort": "START_TIME_ASC"}, aside=True)
        queues = await self.queues()
        return Census(
            tasks={pair: count for kind in counted for pair, count in kind.items()},
            oldest_due=await self._oldest_due(ids, queues),
            started=self._tasks(started),
            workers=await self.workers(),
            paused=_paused(queues),
        )

    async def _counted(self, deployment: UUID, kind: Kind) -> dict[tuple[Kind, Status], int]:
        now = datetime.now(UTC)
        span = timedelta(days=_HISTORY_DAYS)
        body = {
            "history_start": (now - span).isoformat(),
            "history_end": now.isoformat(),
            "history_interval_seconds": span.total_seconds(),
            "flow_runs": {"deployment_id": {"any_": [str(deployment)]}},
        }
        answer = await self._rest.send("POST", "/flow_runs/history", body, aside=True)
        counts: Counter[tuple[Kind, Status]] = Counter()
        for interval in parsed(answer, list[History]):
            for state in interval.states:
                status = states.status(state.state_type, state.state_name)
                counts[kind, status] += state.count_runs
        return counts

    async def _oldest_due(self, ids: JSON, queues: Iterable[str]) -> dict[str, datetime | None]:
        now = datetime.now(UTC).isoformat()
        waiting = {
            **ids,
            "state": _in_state("SCHEDULED", but_not=states.AWAITING_RETRY),
            "next_scheduled_start_time": {"before_": now},
        }
        oldest: dict[str, datetime | None] = {}
        for queue in queues:
            here = {**waiting, "work_queue_name": {"any_": [queue]}}
            filters = {"flow_runs": here, "sort": "NEXT_SCHEDULED_START_TIME_ASC"}
            found, _ = await self._runs(filters, page=1, limit=1, aside=True)
            oldest[queue] = found[0].next_scheduled_start_time if found else None
        return oldest

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

    async def pause(self, queue: str | None, *, paused: bool) -> Mapping[str, bool]:
        """Set Prefect's own pause of work queues: it hands out no run of a paused one."""
        known = await self.queues()
        if queue is not None and queue not in known:
            raise QueueUnknown
        for name in known if queue is None else [queue]:
            path = f"/work_pools/{POOL}/queues/{name}"
            answer = await self._rest.send("PATCH", path, {"is_paused": paused}, aside=True)
            answer.raise_for_status()
        return await self.queues()

    async def missing(self) -> Sequence[Kind]:
        """Kinds of which there is no deployment that can run."""
        return await self._deployments.missing()

    async def owner(self) -> str | None:
        """The pool's description; None where there is no pool yet."""
        answer = await self._rest.send("GET", f"/work_pools/{POOL}", aside=True)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return parsed(answer, WorkPool).description or ""

    async def _run(self, task_id: UUID) -> tuple[FlowRun, Kind]:
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

    async def _found(self, filters: JSON) -> list[FlowRun]:
        answer = await self._rest.send("POST", "/flow_runs/filter", filters)
        return parsed(answer, list[FlowRun])

    async def _all(self, filters: JSON, *, aside: bool = False) -> list[FlowRun]:
        found, total = await self._runs(filters, page=1, limit=_MOST_AT_ONCE, aside=aside)
        page = 1
        while page * _MOST_AT_ONCE < total:
            page += 1
            more, total = await self._runs(filters, page=page, limit=_MOST_AT_ONCE, aside=aside)
            found += more
        return found

    async def _runs(
        self, filters: JSON, *, page: int, limit: int, aside: bool = False
    ) -> tuple[list[FlowRun], int]:
        body = {**filters, "page": page, "limit": limit}
        answer = await self._rest.send("POST", "/flow_runs/paginate", body, aside=aside)
        page_of_runs = parsed(answer, FlowRuns)
        return page_of_runs.results, page_of_runs.count

    def _tasks(self, runs: Sequence[FlowRun]) -> list[Task]:
        return [
            self._task(run, kind)
            for run in runs
            if (kind := self._deployments.kind(run.deployment_id)) is not None
        ]

    def _task(self, run: FlowRun, kind: Kind) -> Task:
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
            retry_of=_task_id(_tagged(run, _RETRY_OF)),
            retried_as=_task_id(_tagged(run, _RETRIED_AS)),
        )


def _tagged(run: FlowRun, prefix: str) -> str | None:
    """What follows this prefix in the run's tags."""
    return next((tag.removeprefix(prefix) for tag in run.tags if tag.startswith(prefix)), None)


def _task_id(tagged: str | None) -> UUID | None:
    # An operator can edit tags.
    try:
        return UUID(tagged) if tagged else None
    except ValueError:
        return None


def _paused(queues: Mapping[str, bool]) -> list[str]:
    return [name for name, paused in queues.items() if paused]


def _among(run_ids: Collection[UUID]) -> JSON:
    return {"id": {"any_": [str(run_id) for run_id in run_ids]}}


def _in_state(*types: str, but_not: str | None = None) -> JSON:
    # Only Scheduled runs can have the name of a retry, so that this excludes no other type.
    names = {"name": {"not_any_": [but_not or states.AWAITING_RETRY]}}
    return {"type": {"any_": list(types)}, **names}


def _joined(first: Page, second: Page) -> Page:
    return Page((*first.tasks, *second.tasks), first.total + second.total)
