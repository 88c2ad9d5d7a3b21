"""What becomes of a run about which its worker and Prefect are of two minds."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import OrchestrationResult
from prefect.states import Cancelled, Completed, Pending, Running, Scheduled
from sqlalchemy.ext.asyncio import create_async_engine

from autoindex.storage import leases
from deployments.worker.keeper import Keeper
from deployments.worker.settlement import Settlement
from deployments.worker.starter import Starter
from deployments.worker.supervision import Cause, Ending
from tests.deployments.worker_flows import look_around

pytestmark = pytest.mark.anyio


class _Overtaken(PrefectClient):
    """Before its first proposal of a state another one arrives."""

    arriving: State | None = None

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
    keeper: Keeper
    settlement: Settlement

    async def run(self, state: State[Any]) -> UUID:
        """A run in a state, of a deployment without a work pool: no worker is to take it."""
        flow_id = await self.client.create_flow(look_around)
        deployment_id = await self.client.create_deployment(flow_id, "settled")
        run = await self.client.create_flow_run_from_deployment(deployment_id, state=state)
        return run.id

    async def state(self, run_id: UUID) -> str | None:
        return (await self.client.read_flow_run(run_id)).state_name


@pytest.fixture
async def scene(prefect_api: str, database_url: str) -> AsyncIterator[Scene]:
    engine = create_async_engine(database_url)
    keeper = Keeper(engine, "one", timedelta(seconds=30))
    async with _Overtaken(prefect_api) as client:
        yield Scene(client, keeper, Settlement(client, keeper, Starter([])))
    await engine.dispose()


@pytest.mark.parametrize(
    ("cause", "end"),
    [
        (Cause.BY_ITSELF, Completed()),
        (Cause.LIMIT, Completed()),
        (Cause.HANDED_BACK, Cancelled()),
        (Cause.LOST, Completed()),
    ],
    ids=lambda one: one.name,
)
async def test_a_run_that_ends_while_it_is_given_up_has_ended(
    scene: Scene, cause: Cause, end: State[Any]
) -> None:
    run_id = await scene.run(Running())
    lease = await scene.keeper.call(leases.take, run_id, "one", scene.keeper.lifetime)
    assert lease is not None
    scene.client.arriving = end
    await scene.settlement.conclude(lease, Ending(cause, -9, "memory limit exceeded"))
    assert await scene.state(run_id) == end.name
    assert await scene.keeper.call(leases.held, [run_id]) == frozenset()


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
    await scene.settlement.leave(run_id)
    assert await scene.state(run_id) == after
