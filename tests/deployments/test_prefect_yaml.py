"""`prefect.yaml` is the one list: every entry of it must hold."""

import inspect
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from prefect import Flow
from prefect.utilities.importtools import import_object

from autoindex.requests import (
    CleanupRequest,
    ComputeIndexRequest,
    RefreshRequest,
    ReportRequest,
    TaskRequest,
)
from worker.prefect_yaml import DeploymentEntry, read_prefect_yaml

PREFECT_YAML = read_prefect_yaml()
REQUESTS: dict[str, type[TaskRequest]] = {
    "refresh": RefreshRequest,
    "compute": ComputeIndexRequest,
    "report": ReportRequest,
    "cleanup": CleanupRequest,
}
SCHEDULES = [
    (entry, schedule) for entry in PREFECT_YAML.deployments for schedule in entry.schedules
]


def named(entry: DeploymentEntry) -> str:
    return entry.name


def load(entry: DeploymentEntry) -> Flow:
    flow = import_object(entry.entrypoint)
    assert isinstance(flow, Flow)
    return flow


def test_there_is_one_deployment_for_each_documented_task() -> None:
    assert [entry.name for entry in PREFECT_YAML.deployments] == list(REQUESTS)


def test_the_queues_have_the_documented_priorities() -> None:
    assert PREFECT_YAML.queues == {"high_priority": 1, "default": 2, "low_priority": 3}
    queues = {entry.name: entry.work_pool["work_queue_name"] for entry in PREFECT_YAML.deployments}
    assert queues == {
        "refresh": "high_priority",
        "compute": "default",
        "report": "default",
        "cleanup": "low_priority",
    }


def test_the_documented_schedules_are_there() -> None:
    assert [(entry.name, schedule["slug"]) for entry, schedule in SCHEDULES] == [
        ("refresh", "hourly-smart-refresh"),
        ("refresh", "daily-full-update"),
        ("report", "weekly-performance-report"),
        ("cleanup", "monthly-cleanup"),
    ]


@pytest.mark.parametrize("entry", PREFECT_YAML.deployments, ids=named)
def test_a_flow_takes_exactly_the_fields_of_its_request(entry: DeploymentEntry) -> None:
    request = REQUESTS[entry.name]
    parameters = inspect.signature(load(entry).fn).parameters
    # What is excluded, as the time of the start, is for the facade alone.
    fields = {name: field for name, field in request.model_fields.items() if not field.exclude}
    assert list(parameters) == list(fields)
    for name, field in fields.items():
        default = parameters[name].default
        if field.is_required():
            assert default is inspect.Parameter.empty
        else:
            assert default == field.get_default(call_default_factory=True)


@pytest.mark.parametrize("entry", PREFECT_YAML.deployments, ids=named)
def test_default_parameters_are_a_valid_request(entry: DeploymentEntry) -> None:
    REQUESTS[entry.name].model_validate(entry.parameters)


@pytest.mark.parametrize(("entry", "schedule"), SCHEDULES, ids=lambda v: str(v)[:30])
def test_a_schedule_has_a_valid_cron_zone_and_parameters(
    entry: DeploymentEntry, schedule: dict[str, object]
) -> None:
    now = datetime.now(UTC).astimezone(ZoneInfo(str(schedule["timezone"])))
    assert next(CronSim(str(schedule["cron"]), now)) > now
    REQUESTS[entry.name].model_validate({**entry.parameters, **schedule["parameters"]})  # type: ignore[dict-item]


def test_only_the_scheduled_cleanup_deletes_and_it_names_every_type() -> None:
    (cleanup,) = [schedule for entry, schedule in SCHEDULES if entry.name == "cleanup"]
    every = ["prices", "news", "logs", "reports"]
    assert cleanup["parameters"] == {"dry_run": False, "types": every}
    assert CleanupRequest().dry_run
    assert CleanupRequest().types == ["prices", "news", "logs"]
