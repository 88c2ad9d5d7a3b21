"""Tasks kept in memory, by the same rules as on Prefect: for tests, and to try the facade alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from api.prefect import states
from api.tasks.batches import MOST_TASKS, Act, Batch, BatchUnknown, TooManyTasks
from api.tasks.runner import (
    Activity,
    Census,
    Kind,
    Page,
    Place,
    Query,
    Started,
    Task,
    TaskFinished,
    TaskUnknown,
)

QUEUES: Final[Mapping[Kind, str]] = {
    Kind.REFRESH: "high_priority",
    Kind.COMPUTE: "default",
    Kind.REPORT: "default",
    Kind.CLEANUP: "low_priority",
}


@dataclass(slots=True)
class Run:
    """A run and its state, in Prefect's terms; changed by whoever plays the worker."""

    kind: Kind
    parameters: Mapping[str, Any]
    user: str | None
    due_at: datetime
    id: UUID = field(default_factory=uuid4)
    state_type: str = "SCHEDULED"
    state_name: str = "Scheduled"
    message: str | None = None
    worker: str | None = None
    idempotency_key: str | None = None
    retry_of: UUID | None = None
    retried_as: UUID | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    changed: Callable[[UUID], None] = lambda _: None

    def move(self, state_type: str, name: str | None = None, message: str | None = None) -> None:
        """Go to another state."""
        self.state_type = state_type
        self.state_name = name or state_type.capitalize()
        self.message = message
        now = datetime.now(UTC)
        if state_type == "RUNNING":
            self.started_at = self.started_at or now
        self.completed_at = now if state_type in states.TERMINAL else None
        self.changed(self.id)

    def begin(self) -> bool:
        """Go to Running, as a worker would, unless the run was cancelled; whether it began."""
        if self.state_type in ("CANCELLING", *states.TERMINAL):
            return False
        self.move("RUNNING")
        return True

    @property
    def task(self) -> Task:
        """The run as the facade sees it."""
        return Task(
            id=self.id,
            kind=self.kind,
            status=states.status(self.state_type, self.state_name),
            user=self.user,
            parameters=self.parameters,
            queue=QUEUES[self.kind],
            worker=self.worker,
            due_at=self.due_at,
            started_at=self.started_at,
            completed_at=self.completed_at,
            error=states.error(self.state_type, self.message),
            retry_of=self.retry_of,
            retried_as=self.retried_as,
        )


class InMemoryBatches(dict[UUID, Batch]):
    """Implements `api.tasks.batches.Batches`."""

    async def create(self, act: Act, user: str, wanted: str, task_ids: Sequence[UUID]) -> Batch:
        """Keep a preview."""
        batch = Batch(uuid4(), act, user, wanted, task_ids)
        self[batch.id] = batch
        return batch

    async def read(self, batch_id: UUID) -> Batch:
        """Read a batch."""
        if batch_id not in self:
            raise BatchUnknown
        return self[batch_id]

    async def note(self, batch: Batch) -> None:
        """Keep how far a batch is."""
        self[batch.id] = batch


class InMemory:
    """Implements `api.tasks.runner.TaskRunner` and `WorkPool` without a server.

    Nothing runs by itself.
    """

    def __init__(self) -> None:
        self.runs: dict[UUID, Run] = {}
        self.online: list[str] = []
        self.lacks: list[Kind] = []
        self.paused: dict[str, bool] = dict.fromkeys(QUEUES.values(), False)
        self.described = ""
        self.batches = InMemoryBatches()
        self._looking: list[asyncio.Queue[UUID | None]] = []

    @property
    def pool(self) -> "InMemory":
        """The workers and queues."""
        return self

    def schedule(self, kind: Kind, parameters: Mapping[str, Any], due_in: timedelta) -> Run:
        """Queue a run for later, as a schedule does."""
        due_at = datetime.now(UTC) + due_in
        run = Run(kind, dict(parameters), user=None, due_at=due_at, changed=self._tell)
        self.runs[run.id] = run
        return run

    def _tell(self, task_id: UUID) -> None:
        for queue in self._looking:
            queue.put_nowait(task_id)

    async def start(
        self,
        kind: Kind,
        parameters: Mapping[str, Any],
        *,
        user: str,
        tags: Sequence[str] = (),  # noqa: ARG002
        idempotency_key: str | None = None,
        retry_of: UUID | None = None,
        run_at: datetime | None = None,
    ) -> Started:
        """Queue a run that is due now or later."""
        for known in self.runs.values():
            if idempotency_key and (known.kind, known.idempotency_key) == (kind, idempotency_key):
                return Started(known.task, new=False)
        run = self.schedule(kind, parameters, timedelta())
        run.due_at = run_at or run.due_at
        run.user, run.idempotency_key, run.retry_of = user, idempotency_key, retry_of
        return Started(run.task, new=True)

    async def mark_retried(self, task_id: UUID, retried_as: UUID) -> None:
        """Note which task an ended one was retried as."""
        self._run(task_id).retried_as = retried_as

    async def read(self, task_id: UUID) -> Task:
        """Read a task; raises `TaskUnknown`."""
        return self._run(task_id).task

    async def read_many(self, task_ids: Collection[UUID]) -> Mapping[UUID, Task]:
        """Read tasks in one go; those that are unknown are left out."""
        return {task_id: self.runs[task_id].task for task_id in task_ids if task_id in self.runs}

    async def changes(self) -> AsyncGenerator[UUID | None]:
        """None at once, then the id of every task whose state changes."""
        queue: asyncio.Queue[UUID | None] = asyncio.Queue()
        self._looking.append(queue)
        try:
            yield None
            while True:
                yield await queue.get()
        finally:
            self._looking.remove(queue)

    async def cancel(self, task_id: UUID, *, user: str) -> Task:
        """Stop a task; raises `TaskUnknown` and `TaskFinished`."""
        run = self._run(task_id)
        if run.state_type in states.TERMINAL:
            raise TaskFinished(run.task.status)
        if run.state_type != "CANCELLING":
            held = run.state_type != "SCHEDULED"
            run.move("CANCELLING" if held else "CANCELLED", message=f"Cancelled by {user}")
        return run.task

    async def search(
        self, query: Query, *, page: int, per_page: int, after: Place | None = None
    ) -> Page:
        """List tasks that are due or were, newest first."""
        now, known = (after.due_at, after.task_ids) if after else (datetime.now(UTC), ())
        due = [run for run in self.runs.values() if run.due_at <= now and _matches(run, query)]
        due = [run for run in due if run.id not in known]
        due.sort(key=lambda run: (run.due_at, run.id), reverse=True)
        start = (page - 1) * per_page
        shown = due[start : start + per_page]
        end = None
        if len(shown) == per_page:
            last = shown[-1].due_at
            same = (run.id for run in shown if run.due_at == last)
            end = Place(last, (*(known if last == now else ()), *same))
        return Page(tuple(run.task for run in shown), len(due), end)

    async def choose(self, act: Act, query: Query) -> Sequence[Task]:
        """The tasks of the list on which `act` would have an effect."""
        tasks = (await self.search(query, page=1, per_page=MOST_TASKS + 1)).tasks[::-1]
        if len(tasks) > MOST_TASKS:
            raise TooManyTasks
        if act is Act.CANCEL:
            return [task for task in tasks if not task.status.final]
        return [task for task in tasks if task.ended and task.retried_as is None]

    async def cancel_many(self, task_ids: Sequence[UUID], *, user: str) -> int:
        """Cancel tasks that have not ended."""
        tasks = [self._run(task_id) for task_id in task_ids]
        open_ = [run for run in tasks if run.state_type in states.OPEN]
        for run in open_:
            await self.cancel(run.id, user=user)
        return len(open_)

    async def activity(self) -> Activity:
        """Read what is running, due and scheduled."""
        now = datetime.now(UTC)
        active, reserved, scheduled = [], [], []
        for run in sorted(self.runs.values(), key=lambda run: run.due_at):
            if run.state_type in ("RUNNING", "CANCELLING"):
                active.append(run.task)
            elif run.state_type == "PAUSED" or run.state_name == states.AWAITING_RETRY:
                scheduled.append(run.task)
            elif run.state_type == "PENDING" or _is_due(run, now):
                reserved.append(run.task)
            elif run.state_type == "SCHEDULED":
                scheduled.append(run.task)
        return Activity(
            _whole(active), _whole(reserved), _whole(scheduled), tuple(self.online), self._paused()
        )

    async def queued(self, kind: Kind, *, later: bool = False) -> int:
        """Count the tasks of a kind that no worker has claimed."""
        now = datetime.now(UTC)
        if later:
            mine = [run for run in self.runs.values() if run.user and run.kind is kind]
            return sum(_waits(run) and run.due_at > now for run in mine)
        waiting = (run for run in self.runs.values() if run.state_name != states.AWAITING_RETRY)
        return sum(run.kind is kind and _is_due(run, now) for run in waiting)

    async def census(self, since: datetime) -> Census:
        """Count tasks, and read those that started since an instant."""
        now = datetime.now(UTC)
        due = [run for run in self.runs.values() if run.due_at <= now]
        waiting = sorted((run for run in due if _waits(run)), key=lambda run: run.due_at)
        oldest: dict[str, datetime | None] = dict.fromkeys(QUEUES.values())
        for run in waiting:
            oldest[QUEUES[run.kind]] = oldest[QUEUES[run.kind]] or run.due_at
        counted = [(run.kind, states.status(run.state_type, run.state_name)) for run in due]
        started = [run.task for run in due if run.started_at and run.started_at >= since]
        return Census(Counter(counted), oldest, started, tuple(self.online), self._paused())

    async def workers(self) -> Sequence[str]:
        """Names of the workers that are online."""
        return tuple(self.online)

    async def queues(self) -> Mapping[str, bool]:
        """The queues, and whether each is paused."""
        return dict(self.paused)

    async def pause(self, names: Sequence[str], *, paused: bool) -> Mapping[str, bool]:
        """Pause queues, or resume them."""
        self.paused |= dict.fromkeys(names, paused)
        return await self.queues()

    def _paused(self) -> list[str]:
        return [name for name, paused in self.paused.items() if paused]

    async def missing(self) -> Sequence[Kind]:
        """Kinds that can't be started."""
        return tuple(self.lacks)

    async def owner(self) -> str | None:
        """What is said of the database that tasks use."""
        return self.described

    def is_busy(self) -> bool:
        """It answers at once."""
        return False

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _run(self, task_id: UUID) -> Run:
        if task_id not in self.runs:
            raise TaskUnknown
        return self.runs[task_id]


def _matches(run: Run, query: Query) -> bool:
    return (
        query.kind in (None, run.kind)
        and query.status in (None, run.task.status)
        and query.user in (None, run.user)
        and (query.since is None or run.due_at >= query.since)
    )


def _waits(run: Run) -> bool:
    return run.state_type == "SCHEDULED" and run.state_name != states.AWAITING_RETRY


def _is_due(run: Run, now: datetime) -> bool:
    return run.state_type == "SCHEDULED" and run.due_at <= now


def _whole(tasks: Sequence[Task]) -> Page:
    return Page(tuple(tasks), len(tasks))
