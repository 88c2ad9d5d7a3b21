"""What a planned run is called in Prefect before it begins."""

from datetime import timedelta

import pytest
from prefect import flow, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.schedules import CronSchedule

from worker import POOL
from worker.scheduled_names import ScheduledNames

DAY = timedelta(days=1)


@flow
def never_run() -> None:
    """Its runs are planned only."""


@pytest.mark.anyio
@pytest.mark.usefixtures("prefect_api")
async def test_planned_runs_are_named_for_their_schedule_and_instant() -> None:
    daily = DeploymentScheduleCreate(
        slug="daily-full-update", schedule=CronSchedule(cron="30 18 * * *", timezone="UTC")
    )
    async with get_client() as client:
        deployment = await client.create_deployment(
            await client.create_flow(never_run), "planned", work_pool_name=POOL, schedules=[daily]
        )
        await client.create_flow_run_from_deployment(deployment, name="by hand")
        path = f"/deployments/{deployment}/schedule"
        (await client.request("POST", path, json={"min_runs": 3})).raise_for_status()  # type: ignore[arg-type]
        ours = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        planned = await client.read_flow_runs(flow_run_filter=ours)
        after = sorted(run.expected_start_time for run in planned if run.auto_scheduled)[0]
        await ScheduledNames(client, POOL).name_all(after + timedelta(minutes=1))
        found = await client.read_flow_runs(flow_run_filter=ours)
    names = {run.name for run in found}
    assert "by hand" in names
    dues = [run.expected_start_time for run in found if run.auto_scheduled]
    assert len(dues) >= 3
    named = {f"daily full update, due {due:%d %b} 18:30 UTC" for due in dues if due > after}
    assert named < names
    assert f"daily full update, due {after:%d %b} 18:30 UTC" not in names  # it may begin soon
