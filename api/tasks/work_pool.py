"""The work pool: the workers, and the queues that they serve."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class QueueUnknown(Exception):
    """No queue has this name."""


class WorkPool(Protocol):
    """Shows workers and queues; pauses queues.

    Every method raises what those of `api.tasks.runner.TaskRunner` raise.
    """

    async def workers(self) -> Sequence[str]:
        """Names of the workers that are online."""
        ...

    async def queues(self) -> Mapping[str, bool]:
        """The queues, by priority; whether each is paused."""
        ...

    async def pause(self, names: Sequence[str], *, paused: bool) -> Mapping[str, bool]:
        """Pause queues of the pool, or resume them; returns all queues.

        A task of a paused queue does not start. One that runs goes on.
        """
        ...

    async def owner(self) -> str | None:
        """The description of the database that tasks use; None where there is no work pool yet."""
        ...
