"""What a worker sends to a run's process."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

# The environment variable in which an interpreter of its own finds its run spec.
RUN_SPEC = "AUTOINDEX_RUN_SPEC"


class RunSpec(BaseModel):
    """A flow run to execute, or whose failure hooks to call."""

    model_config = ConfigDict(frozen=True)

    task_id: UUID
    purpose: Literal["run", "hooks"] = "run"
    entrypoint: str | None = None
    """Of its flow, as in `flows.cleanup.cleanup`; its deployment's where None."""
    token: int | None = None
    """The run's lease token."""
    memory_limit_mb: int | None = None
    soft_time_limit_seconds: float | None = None
    env: dict[str, str] = {}
