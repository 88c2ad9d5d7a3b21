"""What to deploy: `prefect.yaml`, with the schedules that are in Prefect by now.

An operator pauses and moves schedules there; `prefect deploy` replaces them by those of its file.
"""

from typing import Any, Final

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import DeploymentSchedule

from worker import POOL
from worker.prefect_yaml import PREFECT_YAML

_POOL: Final = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))


def keep(client: SyncPrefectClient) -> tuple[dict[str, Any], list[str]]:
    """The content to deploy, and the names of deployments that keep other schedules than its."""
    content = default()
    entries = {entry["name"]: entry for entry in content["deployments"]}
    named = DeploymentFilter(name=DeploymentFilterName(any_=list(entries)))
    kept = []
    for found in client.read_deployments(deployment_filter=named, work_pool_filter=_POOL):
        entry = entries[found.name]
        schedules = [_entry(one) for one in found.schedules]
        if found.paused or _by_slug(schedules) != _by_slug(entry.get("schedules", [])):
            kept.append(found.name)
        entry |= {"paused": found.paused, "schedules": schedules}
    return content, sorted(kept)


def default() -> dict[str, Any]:
    """The content of `prefect.yaml` as it is."""
    content: dict[str, Any] = yaml.safe_load(PREFECT_YAML.read_text())
    return content


def _entry(found: DeploymentSchedule) -> dict[str, Any]:
    """A schedule as `prefect.yaml` has it."""
    when = found.schedule.model_dump(mode="json", exclude_defaults=True)
    others = {"active": found.active, "parameters": found.parameters, "slug": found.slug}
    return when | {name: value for name, value in others.items() if value is not None}


def _by_slug(schedules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(schedules, key=lambda one: str(one.get("slug")))
