"""What a worker asks of a run's process."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

# The environment variable in which an interpreter of its own finds its run spec.
RUN_SPEC = "AUTOINDEX_RUN_SPEC"


class RunSpec(BaseModel):
    """One flow run to be run, or the failure hooks of one to be called."""

    model_config = ConfigDict(frozen=True)

    task_id: UUID
    purpose: Literal["run", "hooks"] = "run"
    entrypoint: str | None = None
    """Where its flow is, as in `flows.cleanup.clean_up`; from its deployment where None."""
    token: int | None = None
    """Of the lease the run is held by."""
    memory_limit_mb: int | None = None
    soft_time_limit_seconds: float | None = None
    env: dict[str, str] = {}
