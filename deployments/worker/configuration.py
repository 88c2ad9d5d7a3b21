"""The job variables of the pool: how one run is started, and what it may use."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import Field, PrivateAttr

from deployments.worker.order import Order

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse

_MEMORY: Any = Field(
    default=512,
    ge=64,
    title="Memory limit (MB)",
    description="Pages of a run's own, resident or swapped out; none where empty.",
)
_SOFT: Any = Field(
    default=None,
    gt=0,
    title="Soft time limit (seconds)",
    description="After which an attempt is asked to keep what it has and to end; none where empty.",
)
_HARD: Any = Field(
    default=None,
    gt=0,
    title="Hard time limit (seconds)",
    description="After which an attempt is killed; none where empty.",
)


class AutoindexVariables(BaseVariables):
    """What a deployment may set."""

    memory_limit_mb: int | None = _MEMORY
    soft_time_limit_seconds: float | None = _SOFT
    hard_time_limit_seconds: float | None = _HARD


class AutoindexJobConfiguration(BaseJobConfiguration):
    """How one run is started."""

    memory_limit_mb: int | None = _MEMORY
    soft_time_limit_seconds: float | None = _SOFT
    hard_time_limit_seconds: float | None = _HARD

    _chosen_command: str | None = PrivateAttr(default=None)
    _entrypoint: str | None = PrivateAttr(default=None)

    def prepare_for_flow_run(
        self,
        flow_run: "FlowRun",
        deployment: "DeploymentResponse | None" = None,
        flow: "Flow | None" = None,
        work_pool: "WorkPool | None" = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Fill in the environment of one run."""
        # Prefect fills in a command of its own where none was chosen.
        self._chosen_command = self.command
        self._entrypoint = deployment.entrypoint if deployment else None
        super().prepare_for_flow_run(
            flow_run, deployment, flow, work_pool, worker_name, worker_id=worker_id
        )

    @property
    def chosen_command(self) -> str | None:
        """The command that a deployment or a run wants to be started with."""
        return self._chosen_command

    def order(self, task_id: UUID, token: int) -> Order:
        """What the run's process is asked to do."""
        return Order(
            task_id=task_id,
            entrypoint=self._entrypoint,
            token=token,
            memory_limit_mb=self.memory_limit_mb,
            soft_time_limit_seconds=self.soft_time_limit_seconds,
            env={name: value for name, value in self.env.items() if value is not None},
        )
