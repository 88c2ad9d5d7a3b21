"""The deployments and queues in `prefect.yaml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict

PROJECT: Final = Path(__file__).resolve().parent.parent
PREFECT_YAML: Final = PROJECT / "prefect.yaml"


class DeploymentEntry(BaseModel):
    """One entry under `deployments`, as far as the worker and bootstrap read it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    entrypoint: str
    work_pool: dict[str, Any]
    parameters: dict[str, Any] = {}
    schedules: list[dict[str, Any]] = []


class PrefectYaml(BaseModel):
    """The content of `prefect.yaml` that the worker and bootstrap read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    definitions: dict[str, Any]
    deployments: list[DeploymentEntry]

    @property
    def queues(self) -> Mapping[str, int]:
        """Priority by name of work queue; 1 is served first."""
        return {str(name): int(rank) for name, rank in self.definitions["queues"].items()}


def read_prefect_yaml(path: Path = PREFECT_YAML) -> PrefectYaml:
    """Read `prefect.yaml`."""
    return PrefectYaml.model_validate(yaml.safe_load(path.read_text()))
