"""Background tasks as the facade sees them, and the protocol of what runs them."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

from api.tasks.batches import Act, Batches
from api.tasks.work_pool import WorkPool
from autoindex.errors import PartUnavailable


class Kind(StrEnum):
    """The four kinds of background task."""

    REFRESH = "refresh"
    COMPUTE = "compute"
    REPORT = "report"
    CLEANUP = "cleanup"


# Flow and deployment, as in prefect.yaml.
DEPLOYMENTS: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.REFRESH: ("refresh-market-data", "refresh"),
    Kind.COMPUTE: ("compute-index", "compute"),
    Kind.REPORT: ("generate-report", "report"),
    Kind.CLEANUP: ("cleanup", "cleanup"),
}


class Status(StrEnum):
    """A task's status."""

    PENDING = "pending"
    STARTED = "started"
    SUCCESS = "success"
    FAILURE = "failure"
    RETRY = "retry"
    REVOKED = "revoked"

    @property
    def final(self) -> bool:
        """Whether a task in this status has ended or is being cancelled."""
        return self in (Status.SUCCESS, Status.FAILURE, Status.REVOKED)


@dataclass(frozen=True, slots=True)
class Task:
    """One task; its id is the id of its flow run.

    `user` is None for a task that a schedule or an operator started. `error` is a sentence for
    users. `worker` is known once the task is claimed. It may start at `due_at`. `retry_of` and
    `retried_as` are the tasks before and after it, where an ended task was retried.
    """

    id: UUID
    kind: Kind
    status: Status
    user: str | None
    parameters: Mapping[str, Any]
    queue: str | None
    worker: str | None
    due_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None
    retry_of: UUID | None = None
    retried_as: UUID | None = None

    @property
    def ended(self) -> bool:
        """Whether it no longer runs; one that is being cancelled still may."""
        return self.status.final and (
            self.status is not Status.REVOKED or self.completed_at is not None
        )


@dataclass(frozen=True, slots=True)
class Started:
    """A task that was requested; `new` is False when an earlier request started it."""

    task: Task
    new: bool


@dataclass(frozen=True, slots=True)
class Query:
    """Which tasks to list; None does not filter."""

    kind: Kind | None = None
    status: Status | None = None
    user: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list: the due time of the last task before it, and all those of that time."""

    due_at: datetime
    task_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, and how many tasks the whole list has.

    A full page ends at a place, from which the list can be read on.
    """

    tasks: Sequence[Task]
    total: int
    end: Place | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """Running, due and scheduled tasks, and the queues that are paused.

    The pages hold the first tasks of each group only; their totals count all.
    """

    active: Page
    reserved: Page
    scheduled: Page
    workers: Sequence[str]
    paused: Sequence[str]


@dataclass(frozen=True, slots=True)
class Census:
    """Counts of all tasks.

    `tasks` counts those that were due, by kind and status. `oldest_due` is the due time of the
    first waiting task of each queue, None where none waits. `started` are the tasks that started
    since the instant asked for. `paused` names the queues that are paused.
    """

    tasks: Mapping[tuple[Kind, Status], int]
    oldest_due: Mapping[str, datetime | None]
    started: Sequence[Task]
    workers: Sequence[str]
    paused: Sequence[str]


class TaskUnknown(Exception):
    """No task of ours has this id."""


class TaskFinished(Exception):
    """The task has ended already: there is nothing to cancel."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"the task has ended already: {status}")
        self.status = status


class TaskNotEnded(Exception):
    """The task has not ended: there is nothing to retry."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"only a task that has ended can be retried; its status is {status}")


class Overload(PartUnavailable):
    """Prefect has more requests than it can answer in time; this one was not sent."""

    def __init__(self) -> None:
        super().__init__("Prefect", "has more requests than it can answer in time")


class OutcomeUnknown(PartUnavailable):
    """Whether a task was queued is unknown; a repeated start with the same key finds it."""


class TaskRunner(Protocol):
    """Starts, follows and cancels tasks.

    Every method raises `autoindex.errors.PartUnavailable` when what runs them does not answer, and
    `Overload` where the answer would come too late.
    """

    @property
    def pool(self) -> WorkPool:
        """The workers, and the queues that they serve."""
        ...

    @property
    def batches(self) -> Batches:
        """The tasks that one request has chosen."""
        ...

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
        """Queue a task, for now or later; with a known key, return the task that the key started.

        Raises `OutcomeUnknown` where it may have been queued.
        """
        ...

    async def mark_retried(self, task_id: UUID, retried_as: UUID) -> None:
        """Note at an ended task the one that it was retried as; raises `TaskUnknown`."""
        ...

    async def read(self, task_id: UUID) -> Task:
        """Read a task; raises `TaskUnknown`."""
        ...

    async def read_many(self, task_ids: Collection[UUID]) -> Mapping[UUID, Task]:
        """Read tasks at once; unknown ones are left out."""
        ...

    def changes(self) -> AsyncGenerator[UUID | None]:
        """None once it is subscribed, then the id of every task that may have changed.

        An id is a hint to read the task: it may come twice or, rarely, not at all. Raises
        `PartUnavailable` when the subscription ends; call it again.
        """
        ...

    async def cancel(self, task_id: UUID, *, user: str) -> Task:
        """Cancel a task, started or not; raises `TaskUnknown` and `TaskFinished`."""
        ...

    async def search(
        self, query: Query, *, page: int, per_page: int, after: Place | None = None
    ) -> Page:
        """List tasks that are due or were, newest first; pages and `total` count from `after`."""
        ...

    async def choose(self, act: Act, query: Query) -> Sequence[Task]:
        """The tasks of the list on which `act` would have an effect; raises `TooManyTasks`."""
        ...

    async def cancel_many(self, task_ids: Sequence[UUID], *, user: str) -> int:
        """Cancel tasks, a few at once, except those that have ended; how many."""
        ...

    async def activity(self) -> Activity:
        """Read what is running, due and scheduled."""
        ...

    async def queued(self, kind: Kind, *, later: bool = False) -> int:
        """Count the tasks of a kind that are due and that no worker has claimed.

        With `later`, count those that users have scheduled and that are not due yet.
        """
        ...

    async def census(self, since: datetime) -> Census:
        """Count tasks, and read those that started since an instant."""
        ...

    async def missing(self) -> Sequence[Kind]:
        """Kinds that can't be started because their deployment is missing."""
        ...

    def is_busy(self) -> bool:
        """Whether it is busy with other requests, so that waiting helps."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
