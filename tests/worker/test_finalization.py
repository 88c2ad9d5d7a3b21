"""What becomes of a run about which its worker and Prefect are of two minds."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import OrchestrationResult
from prefect.states import Cancelled, Completed, Pending, Running, Scheduled, Suspended
from sqlalchemy.ext.asyncio import create_async_engine

from autoindex.storage.runs import checkpoints, leases
from autoindex.storage.runs.leases import Lease
from tests.worker.worker_flows import said, sleep
from worker.finalization import Finalizer
from worker.late_claims import LateClaims
from worker.launcher import Launcher
from worker.lease_manager import LeaseManager
from worker.outages import Outages
from worker.run_limits import Exit, ExitCause

pytestmark = pytest.mark.anyio


class _Overtaken(PrefectClient):
    """Before its first proposal of a state another one arrives; after it, an answer is lost."""

    arriving: State | None = None
    loses_an_answer = False

    async def read_flow_run_states(self, flow_run_id: UUID) -> list[State[Any]]:
        if self.loses_an_answer:
            self.loses_an_answer = False
            raise httpx.ReadError("the connection is gone")
        return await super().read_flow_run_states(flow_run_id)

    async def set_flow_run_state(
        self, flow_run_id: UUID | str, state: State[Any], force: bool = False
    ) -> OrchestrationResult[Any]:
        if self.arriving is not None:
            arriving, self.arriving = self.arriving, None
            await super().set_flow_run_state(flow_run_id, arriving)
        return await super().set_flow_run_state(flow_run_id, state, force)


@dataclass(frozen=True)
class Scene:
    """What settles runs, and a client to make them with."""

    client: _Overtaken
    lease_manager: LeaseManager
    finalizer: Finalizer
    note: str
    """Where the runs and their hooks say what they have seen."""

    async def run(self, state: State[Any]) -> UUID:
        """A run in a state, of a deployment without a work pool: no worker is to take it."""
        flow_id = await self.client.create_flow(sleep)
        deployment_id = await self.client.create_deployment(
            flow_id, "settled", entrypoint="tests.worker.worker_flows.sleep"
        )
        run = await self.client.create_flow_run_from_deployment(
            deployment_id, state=state, parameters={"note": self.note}
        )
        return run.id

    async def taken(self, run_id: UUID) -> Lease:
        lease = await self.lease_manager.call(
            leases.take, run_id, "one", self.lease_manager.lifetime
        )
        assert lease is not None
        return lease

    async def state(self, run_id: UUID) -> str | None:
        return (await self.client.read_flow_run(run_id)).state_name


async def _holds() -> None:
    """No pooler is in between."""


@pytest.fixture
async def scene(
    prefect_api: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)  # for the process that calls hooks
    engine = create_async_engine(database_url)
    outages = Outages()
    lease_manager = LeaseManager(engine, "one", timedelta(seconds=30), outages, _holds)
    launcher = Launcher([])
    async with _Overtaken(prefect_api) as client:
        finalizer = Finalizer(client, lease_manager, launcher, outages)
        yield Scene(client, lease_manager, finalizer, str(tmp_path / "note"))
    await launcher.close()
    await engine.dispose()


@pytest.mark.parametrize(
    ("cause", "end"),
    [
        (ExitCause.BY_ITSELF, Completed()),
        (ExitCause.LIMIT, Completed()),
        (ExitCause.HANDED_BACK, Cancelled()),
        (ExitCause.LOST, Completed()),
    ],
    ids=lambda one: one.name,
)
async def test_a_run_that_ends_while_it_is_given_up_has_ended(
    scene: Scene, cause: ExitCause, end: State[Any]
) -> None:
    run_id = await scene.run(Running())
    lease = await scene.taken(run_id)
    scene.client.arriving = end
    await scene.finalizer.finalize(lease, Exit(cause, -9, "memory limit exceeded"))
    assert await scene.state(run_id) == end.name
    assert await scene.lease_manager.call(leases.held, [run_id]) == frozenset()


@pytest.mark.parametrize(
    ("before", "after"),
    [(Scheduled(), "AwaitingRetry"), (Completed(), "Completed"), (Running(), "Running")],
    ids=lambda one: getattr(one, "name", ""),
)
async def test_what_is_claimed_but_held_elsewhere_goes_back_to_where_it_was(
    scene: Scene, before: State[Any], after: str
) -> None:
    run_id = await scene.run(before)
    if not before.is_running():  # or Prefect does not allow it
        await scene.client.set_flow_run_state(run_id, Pending())
    await LateClaims(scene.client, scene.lease_manager).give_back(run_id)
    assert await scene.state(run_id) == after


async def test_a_lost_answer_neither_forgives_a_death_nor_loses_an_end(scene: Scene) -> None:
    died, ended = await scene.run(Running()), await scene.run(Running())
    for run_id, arriving in ((died, None), (ended, Completed())):
        scene.client.arriving, scene.client.loses_an_answer = arriving, True
        await scene.finalizer.finalize(await scene.taken(run_id), Exit(ExitCause.BY_ITSELF, -9))
    assert await scene.state(died) == "AwaitingRetry"
    assert (await scene.taken(died)).deaths == 1
    assert await scene.state(ended) == "Completed"


async def test_who_wants_to_hear_of_a_failure_does_though_an_answer_is_lost(scene: Scene) -> None:
    run_id = await scene.run(Running())
    scene.client.loses_an_answer = True
    lease = await scene.taken(run_id)
    await scene.finalizer.finalize(lease, Exit(ExitCause.LIMIT, -9, "memory limit exceeded"))
    assert await scene.state(run_id) == "LimitExceeded"
    assert [one["message"] for one in said(scene.note + ".hook")] == ["memory limit exceeded"]


async def test_what_is_suspended_stays_so_and_has_not_died(scene: Scene) -> None:
    run_id = await scene.run(Running())
    await scene.client.set_flow_run_state(run_id, Suspended())
    await scene.finalizer.finalize(await scene.taken(run_id), Exit(ExitCause.BY_ITSELF, 0))
    assert await scene.state(run_id) == "Suspended"
    assert (await scene.taken(run_id)).deaths == 0


@pytest.mark.parametrize(("state", "left"), [(Completed(), {}), (Scheduled(), {"AAPL": 1})])
async def test_what_has_ended_leaves_nothing_to_go_on_from(
    scene: Scene, state: State[Any], left: dict[str, int]
) -> None:
    run_id = await scene.run(state)
    await scene.lease_manager.call(checkpoints.store, run_id, {"AAPL": 1})
    await scene.finalizer.finalize(await scene.taken(run_id), Exit(ExitCause.BY_ITSELF, 0))
    assert await scene.lease_manager.call(checkpoints.load, run_id) == left


async def test_a_run_that_was_deleted_is_let_go(scene: Scene) -> None:
    run_id = await scene.run(Running())
    lease = await scene.taken(run_id)
    await scene.client.delete_flow_run(run_id)
    await scene.finalizer.finalize(lease, Exit(ExitCause.BY_ITSELF, -9))
    assert await scene.lease_manager.call(leases.held, [run_id]) == frozenset()
