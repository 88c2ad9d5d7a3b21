"""The flows on pools of Prefect's own types, deployed by the files and commands of the guide."""

# ruff: noqa: F811  fixtures that come from another folder are imported by name

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import prefect
import pytest
import yaml
from anyio.from_thread import start_blocking_portal
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling
from prefect.utilities.importtools import import_object
from prefect.workers.base import BaseJobConfiguration
from sqlalchemy import Engine, text

from autoindex.settings import Settings
from autoindex.storage.postgres import locks
from deployments.commands import universe_command
from flows import other_pools
from flows.attempts.attempt import JITTER, RETRIES
from tests.bounds import HANG_SECONDS
from tests.market_data.conftest import sandbox, sandbox_url  # noqa: F401  fixtures
from tests.market_data.stage import AFTER_LAST_CLOSE, Switches
from worker.prefect_yaml import PROJECT, read_prefect_yaml

FOLDER = PROJECT / "deployments" / "other_pools"
GUIDE = (PROJECT / "docs" / "operations" / "other-pools.md").read_text()
PUBLISHED = json.loads(
    (
        Path(prefect.__file__).parent
        / "server/api/collections_data/views/aggregate-worker-metadata.json"
    ).read_text()
)
DEPLOYMENTS = yaml.safe_load((FOLDER / "prefect.yaml").read_text())["deployments"]
OURS = read_prefect_yaml().deployments
POOLS = ("process", "docker", "kubernetes")


def template(pool_type: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{pool_type}.json").read_text()))


def published(pool_type: str) -> dict[str, Any]:
    """The base job template that Prefect publishes for a type."""
    return dict(PUBLISHED[f"prefect-{pool_type}"][pool_type]["default_base_job_configuration"])


@pytest.mark.parametrize("pool_type", POOLS[1:])
def test_a_template_sets_what_the_published_one_knows(pool_type: str) -> None:
    ours, theirs = template(pool_type), published(pool_type)
    assert ours["job_configuration"].keys() <= theirs["job_configuration"].keys()
    properties = ours["variables"]["properties"]
    assert properties.keys() - theirs["variables"]["properties"].keys() <= {
        "active_deadline_seconds"
    }
    # Not references to blocks, which are resolved later.
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
    values = {name: one for name, one in defaults.items() if "{{" not in one}
    jsonschema.validate(values, theirs["variables"])
    for deployment in DEPLOYMENTS:
        jsonschema.validate(deployment["work_pool"]["job_variables"], ours["variables"])


def test_the_manifest_adds_to_the_published_one() -> None:
    ours = template("kubernetes")["job_configuration"]["job_manifest"]
    theirs = published("kubernetes")["job_configuration"]["job_manifest"]
    assert missing(theirs, ours) == {
        "spec.template.spec.serviceAccountName",
        "spec.template.spec.containers.0.resources.limits.cpu",
        "spec.template.spec.containers.0.resources.requests.cpu",
    }


def missing(wanted: object, there: object, path: str = "") -> set[str]:
    """Where a part of one document is not in another."""
    if isinstance(wanted, list):
        wanted = dict(enumerate(wanted))
        there = dict(enumerate(there)) if isinstance(there, list) else {}
    if not isinstance(wanted, dict):
        return set()
    found = there if isinstance(there, dict) else {}
    return {f"{path}{key}" for key in wanted if key not in found}.union(
        *(missing(one, found[key], f"{path}{key}.") for key, one in wanted.items() if key in found)
    )


def test_a_flow_may_take_its_hard_limit_and_the_waits_of_one_subtask() -> None:
    waits = RETRIES * Settings().retry_delay_seconds * (1 + JITTER)
    for ours, other in zip(OURS, DEPLOYMENTS, strict=True):
        flow, same = import_object(other["entrypoint"]), import_object(ours.entrypoint)
        assert (flow.fn, flow.name) == (same.fn, same.name)
        hard = ours.work_pool["job_variables"]["hard_time_limit_seconds"]
        assert flow.timeout_seconds >= hard + waits
        deadline = other["work_pool"]["job_variables"]["active_deadline_seconds"]
        assert deadline > flow.timeout_seconds
        assert other.get("parameters", {}) == ours.parameters


@dataclass
class Pool:
    """A process pool, deployed as in the guide."""

    client: SyncPrefectClient
    engine: Engine
    env: dict[str, str]

    def run(self, *lines: str) -> None:
        """Run lines of the guide as a shell in the project's folder does."""
        command = "\n".join(lines).replace(
            ".venv/bin/prefect", ".venv/bin/python -m prefect --no-prompt"
        )
        command = command.replace(".venv/bin", str(Path(sys.executable).parent))
        ended = subprocess.run(
            ["sh", "-ec", command],
            cwd=PROJECT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def ask(self, **parameters: Any) -> UUID:
        found = self.client.read_deployment_by_name("refresh-market-data/refresh-process")
        return self.client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def retried(self, run: UUID) -> list[str]:
        """The subtasks of a run that had a second attempt."""
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
        subtasks = self.client.read_task_runs(flow_run_filter=chosen)
        return [one.name.rpartition("-")[0] for one in subtasks if one.run_count == 2]

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + HANG_SECONDS
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def locks(self, *, granted: bool) -> int:
        """How many locks of ours are held, or waited for."""
        query = """select count(*) from pg_locks join pg_database on pg_database.oid = database
            where locktype = 'advisory' and datname = current_database() and granted = :granted"""
        with self.engine.connect() as connection:
            return int(connection.execute(text(query), {"granted": granted}).scalar_one())

    def rows(self, table: str) -> int:
        with self.engine.connect() as connection:
            count = connection.execute(text(f"select count(*) from {table}"))  # noqa: S608
            return int(count.scalar_one())


def block(section: str) -> list[str]:
    """The lines of a section's first code block in the guide."""
    return GUIDE.partition(f"## {section}\n")[2].split("```\n")[1].splitlines()


@pytest.fixture
def pool(prefect_api: str, engine: Engine, settings: Settings, sandbox: Switches) -> Iterator[Pool]:
    universe_command.import_sandbox(settings)
    with engine.begin() as connection:
        # One page each.
        connection.execute(text("update assets set prices_kept_from = '2022-01-03'"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    env |= settings.environment() | {
        "PREFECT_API_URL": prefect_api,
        "AUTOINDEX_TWELVE_DATA_BASE_URL": sandbox.url,
        "AUTOINDEX_CLOCK": AFTER_LAST_CLOSE.isoformat(),
        "AUTOINDEX_RETRY_DELAY_SECONDS": "0.1",
    }
    with SyncPrefectClient(prefect_api) as client:
        yield Pool(client, engine, env)
        for name in POOLS:
            chosen = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
            for deployment in client.read_deployments(work_pool_filter=chosen):
                client.delete_deployment(deployment.id)
            with suppress(ObjectNotFound):
                client.delete_work_pool(name)


def test_refreshes_run_retry_and_are_cancelled_on_a_process_pool(
    pool: Pool, sandbox: Switches
) -> None:
    *prepare, start = block("Process")
    pool.run(*prepare)
    sandbox.faults({"kind": "server_error", "times": 1})
    one, other = pool.ask(), pool.ask()
    with ThreadPoolExecutor() as threads:
        # Both wait in place.
        with locks.exclusive(pool.engine, "refresh"):
            working = threads.submit(pool.run, f"{start} --run-once")
            pool.until(lambda: pool.locks(granted=False) == 2 or working.done())
            pool.client.set_flow_run_state(other, Cancelling())
            pool.until(lambda: pool.locks(granted=False) == 1 or working.done())
        working.result()
    ended = [pool.client.read_flow_run(run).state for run in (one, other)]
    assert [state and state.type for state in ended] == [StateType.COMPLETED, StateType.CANCELLED]
    assert pool.locks(granted=True) == 0
    # Prefect records the runs of subtasks a little later.
    pool.until(lambda: pool.retried(one) == ["fetch"])
    assert pool.rows("prices") == 21 * 249
    assert pool.rows("index_levels") > 0


# Prefect's timer has the signal that pytest-timeout uses otherwise.
@pytest.mark.timeout(method="thread")
def test_a_run_that_is_timed_out_leaves_no_lock_and_no_half_written_batch(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_out() -> None:
        """Send the signal of Prefect's timer once a batch waits to be stored."""
        with pool.engine.begin() as connection:
            locks.until_commit(connection, locks.PRICES)
            pool.until(lambda: pool.locks(granted=False) == 1)
            os.kill(os.getpid(), signal.SIGALRM)
            pool.until(lambda: pool.locks(granted=False) == 0)

    for name, value in pool.env.items():
        monkeypatch.setenv(name, value)
    with ThreadPoolExecutor() as threads:
        timing_out = threads.submit(time_out)
        state = other_pools.refresh(return_state=True)
        timing_out.result()
    assert (state.type, state.name) == (StateType.FAILED, "TimedOut")
    assert state.message == "Flow run exceeded timeout of 600.0 second(s)"
    assert (pool.locks(granted=True), pool.rows("prices")) == (0, 0)


def test_docker_gets_the_settings_from_a_secret_and_kubernetes_none(pool: Pool) -> None:
    # Neither the engine nor the cluster is there. One deployment with a job variable is enough.
    pool.run(*(one for one in block("Docker")[1:] if "deploy --all" not in one))
    pool.run(*block("Kubernetes")[1:])

    async def configured(pool_type: str) -> dict[str, Any]:
        async with get_client() as client:
            made = await client.read_work_pool(pool_type)
            read = BaseJobConfiguration.from_template_and_values
            return (await read(made.base_job_template, {}, client=client)).env

    with start_blocking_portal() as portal:
        docker = portal.call(configured, "docker")
        assert portal.call(configured, "kubernetes") == {}
    assert docker == {k: v for k, v in pool.env.items() if k.startswith("AUTOINDEX_")}
