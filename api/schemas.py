"""What the facade answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.tasks.batches import Act, Batch
from api.tasks.runner import Kind, Status, Task
from autoindex.storage.runs.task_progress import Line, Progress

TaskId = Annotated[
    UUID, Field(description="The task's id.", examples=["0196f3f4-8f7a-7c3e-9d53-0c2f5a7e9b10"])
]
# No character that a database refuses or that breaks a log line.
UserName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Field(description="Who started it.", examples=["ada"]),
]


class TaskQueued(BaseModel):
    """A task that was queued."""

    task_id: TaskId
    status: Status = Field(examples=[Status.PENDING])
    message: str = Field(examples=["Refresh task queued"])


RetryOf = Annotated[
    UUID | None,
    Field(description="The ended task that this one repeats.", examples=[None]),
]
RetriedAs = Annotated[
    UUID | None,
    Field(description="The task that it was retried as.", examples=[None]),
]


class TaskProgress(BaseModel):
    """The progress of a task's newest attempt."""

    step: str | None = Field(description="The current or last step.", examples=["fetch"])
    completed: int | None = Field(description="How much is done.", examples=[12])
    total: int | None = Field(description="How much there is to do.", examples=[21])
    what: str | None = Field(description="What is counted.", examples=["symbols fetched"])
    updated_at: datetime = Field(description="When the task reported it.")

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """Show progress."""
        return cls(
            step=progress.step,
            completed=progress.completed,
            total=progress.total,
            what=progress.what,
            updated_at=progress.updated_at,
        )


# Every field is sent, so that clients need not tell what is missing from what is null.
_WHOLE: Final = ConfigDict(json_schema_serialization_defaults_required=True)


class TaskStatus(BaseModel):
    """A task's status, and its result."""

    model_config = _WHOLE

    task_id: TaskId
    kind: Kind
    status: Status = Field(examples=[Status.SUCCESS])
    result: Any = Field(
        description="What a successful task returned; null until then, and once it has expired.",
    )
    error: str | None = Field(description="Why it failed, in a sentence.", examples=[None])
    started_at: datetime | None = Field(description="When its first attempt started.")
    completed_at: datetime | None = Field(description="When it ended.")
    result_expires_at: datetime | None = Field(
        default=None, description="When the result expires, or has expired."
    )
    progress: TaskProgress | None = Field(
        default=None,
        description="Its progress; null before it starts, and from a week after its end.",
    )
    retry_of: RetryOf = None
    retried_as: RetriedAs = None


class TaskLine(BaseModel):
    """One line of a task's log."""

    number: int = Field(description="Counts a task's lines from 1.", examples=[1])
    at: datetime
    level: str = Field(examples=["info"])
    text: str = Field(examples=["21 of 21 symbols are due"])

    @classmethod
    def of(cls, line: Line) -> Self:
        """Show a line."""
        return cls(number=line.number, at=line.at, level=line.level, text=line.text)


class TaskSummary(BaseModel):
    """A task in a list."""

    model_config = _WHOLE

    task_id: TaskId
    kind: Kind
    status: Status
    user: str | None = Field(
        description="Who started it; null for a schedule or an operator.", examples=["ada"]
    )
    parameters: dict[str, Any] = Field(
        description="The request's parameters, without a report's mail address.",
        examples=[{"mode": "smart", "symbols": None, "force": False}],
    )
    queue: str | None = Field(examples=["high_priority"])
    worker: str | None = Field(description="The worker that claimed it.", examples=["worker-1"])
    due_at: datetime | None = Field(description="When it may start.")
    started_at: datetime | None = Field(description="When its first attempt started.")
    completed_at: datetime | None = Field(description="When it ended.")
    error: str | None = Field(description="Why it failed, in a sentence.", examples=[None])
    retry_of: RetryOf = None
    retried_as: RetriedAs = None

    @classmethod
    def of(cls, task: Task) -> Self:
        """Show a task."""
        return cls(
            task_id=task.id,
            kind=task.kind,
            status=task.status,
            user=task.user,
            parameters=without_address(task.parameters),
            queue=task.queue,
            worker=task.worker,
            due_at=task.due_at,
            started_at=task.started_at,
            completed_at=task.completed_at,
            error=task.error,
            retry_of=task.retry_of,
            retried_as=task.retried_as,
        )


class TaskList(BaseModel):
    """A page of tasks, newest first."""

    tasks: list[TaskSummary]
    total: int = Field(description="The number of tasks on all pages.", examples=[1])
    page: int = Field(examples=[1])
    per_page: int = Field(examples=[50])


class ActivityStats(BaseModel):
    """The number of tasks in each group, shown or not."""

    total_active: int = Field(examples=[1])
    total_scheduled: int = Field(examples=[0])
    total_reserved: int = Field(examples=[0])


class ActiveTasks(BaseModel):
    """What is running, what is next, and what comes later."""

    active: dict[str, list[TaskSummary]] = Field(description="Running tasks by worker.")
    reserved: dict[str, list[TaskSummary]] = Field(
        description="Tasks that are claimed or due now, by queue."
    )
    scheduled: dict[str, list[TaskSummary]] = Field(
        description="Tasks that are due later or wait for a retry, by deployment."
    )
    stats: ActivityStats
    paused: list[str] = Field(
        description="The queues that start no task until they are resumed.", examples=[[]]
    )
    error: str | None = Field(
        default=None,
        description="Only present when no worker is online.",
        examples=["No worker is online"],
    )


class BatchState(BaseModel):
    """The tasks of a batch, and how far it is."""

    token: UUID = Field(description="The batch's id; send it to act on these tasks.")
    act: Act
    begun: bool = Field(description="False for a preview: nothing was changed.")
    total: int = Field(description="The number of tasks.", examples=[2])
    done: int = Field(description="How many were looked at.", examples=[2])
    acted: int = Field(
        description="How many of those were cancelled or retried; the others had ended, or "
        "could not be retried.",
        examples=[2],
    )
    task_ids: list[UUID] = Field(description="The tasks, the oldest first.")

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Show a batch."""
        return cls(
            token=batch.id,
            act=batch.act,
            begun=batch.begun,
            total=len(batch.task_ids),
            done=batch.done,
            acted=batch.acted,
            task_ids=list(batch.task_ids),
        )


class QueueState(BaseModel):
    """A queue, and whether it starts tasks."""

    name: str = Field(examples=["high_priority"])
    paused: bool = Field(
        description="Whether it starts no task until it is resumed.", examples=[True]
    )


class QueueStates(BaseModel):
    """All queues, the highest priority first."""

    queues: list[QueueState]


class Health(BaseModel):
    """The facade answers."""

    status: str = Field(examples=["ok"])


class Readiness(BaseModel):
    """Everything that a task needs is there."""

    status: str = Field(examples=["ready"])
    checks: Mapping[str, str] = Field(
        examples=[
            {
                "database": "ok",
                "prefect": "ok",
                "deployments": "ok",
                "worker": "1 online",
                "queues": "ok",
            }
        ]
    )


def without_address(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A request's parameters without the address of a report's mail."""
    return {name: value for name, value in parameters.items() if name != "email"}


def grouped(tasks: Sequence[Task], keys: Sequence[str]) -> dict[str, list[TaskSummary]]:
    """Tasks grouped by `keys`, which has one for each; their order stays."""
    groups: dict[str, list[TaskSummary]] = {}
    for task, key in zip(tasks, keys, strict=True):
        groups.setdefault(key, []).append(TaskSummary.of(task))
    return groups
