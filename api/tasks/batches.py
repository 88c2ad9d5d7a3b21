"""Batches: the tasks that one request cancels or retries."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

MOST_TASKS: Final = 10_000
"""Prefect keeps a batch as a flow run, whose parameters may have 512 KiB."""

CHUNK: Final = 10
"""The most runs that Prefect changes in one request: one after another, within our time-out."""


class Act(StrEnum):
    """What a batch does with its tasks."""

    CANCEL = "cancel"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Batch:
    """The tasks that were chosen, and how far it is.

    `begun` is False for a preview. `done` counts the tasks that were looked at, in order, and
    `acted` those of them that were cancelled or retried.
    """

    id: UUID
    act: Act
    user: str
    wanted: str
    task_ids: Sequence[UUID]
    begun: bool = False
    done: int = 0
    acted: int = 0


class BatchUnknown(Exception):
    """No batch has this id."""


class TooManyTasks(Exception):
    """The filter matches more tasks than a batch may have."""


class Batches(Protocol):
    """Stores batches."""

    async def create(self, act: Act, user: str, wanted: str, task_ids: Sequence[UUID]) -> Batch:
        """Store the tasks that a request has chosen."""
        ...

    async def read(self, batch_id: UUID) -> Batch:
        """Read a batch; raises `BatchUnknown`."""
        ...

    async def note(self, batch: Batch) -> None:
        """Store how far a batch is."""
        ...
