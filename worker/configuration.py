"""The job variables of the pool: the limits of one run.

Nothing else: a run that chose its command or its environment could do all that its worker can.
"""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.workers.base import BaseJobConfiguration
from pydantic import BaseModel, Field, PrivateAttr

from worker.run_spec import RunSpec

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse

_MEMORY: Any = Field(
    default=512,
    ge=64,
    title="Memory limit (MB)",
    description="Private memory of a run, resident or swapped out; no limit where empty.",
)
_SOFT: Any = Field(
    default=None,
    gt=0,
    title="Soft time limit (seconds)",
    description="After which an attempt stores its progress and ends; no limit where empty.",
)
_HARD: Any = Field(
    default=None,
    gt=0,
    title="Hard time limit (seconds)",
    description="After which an attempt is killed; no limit where empty.",
)


class Limits(BaseModel):
    """The job variables that a deployment or a run may set."""

    memory_limit_mb: int | None = _MEMORY
    soft_time_limit_seconds: float | None = _SOFT
    hard_time_limit_seconds: float | None = _HARD


class AutoindexJobConfiguration(Limits, BaseJobConfiguration):
    """How one run is started."""

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
        """Use the worker's environment, whatever the pool's template says."""
        self.env = {}
        self._entrypoint = deployment.entrypoint if deployment else None
        super().prepare_for_flow_run(
            flow_run, deployment, flow, work_pool, worker_name, worker_id=worker_id
        )

    def run_spec(self, task_id: UUID, token: int) -> RunSpec:
        """What the run's process gets."""
        return RunSpec(
            task_id=task_id,
            entrypoint=self._entrypoint,
            token=token,
            memory_limit_mb=self.memory_limit_mb,
            soft_time_limit_seconds=self.soft_time_limit_seconds,
            env={name: value for name, value in self.env.items() if value is not None},
        )


def base_job_template() -> dict[str, Any]:
    """The pool's template with the limits: Prefect refuses a run that names other variables."""
    variables = Limits.model_json_schema() | {"additionalProperties": False}
    return {
        "job_configuration": {name: f"{{{{ {name} }}}}" for name in Limits.model_fields},
        "variables": {key: value for key, value in variables.items() if key != "title"},
    }
