"""What an operator changes in Prefect outlasts `autoindex bootstrap`."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from deployments import bootstrap
from worker import POOL
from worker.prefect_yaml import read_prefect_yaml

NAMES = [entry.name for entry in read_prefect_yaml().deployments]


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    """One whose server has none of our deployments before and after."""
    with SyncPrefectClient(prefect_api) as opened:
        yield opened
        for one in deployed(opened).values():
            opened.delete_deployment(one.id)


def deployed(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    named = DeploymentFilter(name=DeploymentFilterName(any_=NAMES))
    found = client.read_deployments(deployment_filter=named)
    return {one.name: one for one in found if one.work_pool_name == POOL}


def schedules(client: SyncPrefectClient) -> dict[str, tuple[bool, list[dict[str, Any]]]]:
    kept = {"schedule", "active", "parameters", "slug"}
    return {
        name: (one.paused, sorted((s.model_dump(include=kept) for s in one.schedules), key=str))
        for name, one in deployed(client).items()
    }


def change_everything(client: SyncPrefectClient) -> None:
    """Pause one deployment, switch a schedule off, move another, add and remove one."""
    found = deployed(client)
    client.update_deployment(found["report"].id, DeploymentUpdate(paused=True))
    hourly = next(s for s in found["refresh"].schedules if s.slug == "hourly-smart-refresh")
    client.update_deployment_schedule(found["refresh"].id, hourly.id, active=False)
    (monthly,) = found["cleanup"].schedules
    moved = CronSchedule(cron="7 3 * * 0", timezone="Europe/Berlin")
    client.update_deployment_schedule(found["cleanup"].id, monthly.id, schedule=moved)
    often = IntervalSchedule(interval=timedelta(days=3), timezone="Asia/Tokyo")
    added = DeploymentScheduleCreate(schedule=often, parameters={"strategy": "momentum"})
    client.create_deployment_schedules(found["compute"].id, [added])


def test_what_an_operator_has_changed_stays(client: SyncPrefectClient, prefect_api: str) -> None:
    env = os.environ | {"PREFECT_API_URL": prefect_api}
    assert bootstrap.deploy(env, prefect_api) == "refresh, compute, report, cleanup"
    first = schedules(client)
    change_everything(client)
    changed = schedules(client)
    assert all(changed[name] != first[name] for name in NAMES)
    said = bootstrap.deploy(env, prefect_api)
    assert said.endswith("are kept: cleanup, compute, refresh, report")
    assert schedules(client) == changed
    bootstrap.deploy(env, prefect_api, reset_schedules=True)
    # The file has none for `compute`.
    assert schedules(client) == first | {"compute": changed["compute"]}
