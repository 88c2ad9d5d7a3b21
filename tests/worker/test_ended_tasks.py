"""The end of a task is told once, whoever ends it and whoever dies meanwhile."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Cancelling, Completed, Failed, Running, Scheduled
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import create_async_engine

from autoindex.settings import Settings
from autoindex.storage.audit import Author
from autoindex.storage.runs import cancellations, leases, shared_tasks
from autoindex.storage.webhooks import endpoints, outbox
from autoindex.webhooks import signature
from tests.webhooks.receiver import free_port, recorder
from tests.worker.worker_flows import sleep
from tests.worker.workers import Yard, yard
from worker.ended_tasks import CancelledTasks
from worker.finalization import Finalizer
from worker.launcher import Launcher
from worker.lease_manager import LeaseManager
from worker.outages import Outages
from worker.run_limits import Exit, ExitCause

pytestmark = pytest.mark.anyio

TAGS = ["autoindex", "compute", "user:ann"]
LOST = Exit(ExitCause.LOST, 0)


@dataclass(frozen=True)
class Scene:
    client: PrefectClient
    lease_manager: LeaseManager
    finalizer: Finalizer
    cancelled: CancelledTasks
    engine: Engine
    folder: Path

    async def run(self, state: State[Any], tags: list[str] = TAGS) -> UUID:
        flow_id = await self.client.create_flow(sleep)
        deployment = await self.client.create_deployment(
            flow_id, "told", entrypoint="tests.worker.worker_flows.sleep"
        )
        run = await self.client.create_flow_run_from_deployment(
            deployment, state=state, tags=tags, parameters={"note": str(self.folder / "note")}
        )
        return run.id

    async def finalize(self, task_id: UUID, cause: ExitCause = ExitCause.BY_ITSELF) -> None:
        lifetime = self.lease_manager.lifetime
        lease = await self.lease_manager.call(leases.take, task_id, "one", lifetime)
        assert lease is not None
        await self.finalizer.finalize(lease, Exit(cause, -9, "time limit exceeded"))

    def told(self, user: str = "ann") -> list[dict[str, Any]]:
        return told(self.engine, user)


def told(engine: Engine, user: str) -> list[dict[str, Any]]:
    with engine.begin() as connection:
        (hook,) = endpoints.load(connection, user)
        _, found = outbox.load(connection, user, hook.id, limit=99, offset=0)
    return [json.loads(one.body) for one in found][::-1]


def listen(engine: Engine, *users: str) -> None:
    with engine.begin() as connection:
        for user in users:
            url = "https://app.test/"
            endpoints.create(connection, Author(user), url, ["task.ended"], "whsec_MfKQ9r8GKYqr")


async def _holds() -> None:
    """No pooler is in between."""


@pytest.fixture
async def scene(
    prefect_api: str,
    database_url: str,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Scene]:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)  # for the process that calls hooks
    made = create_async_engine(database_url)
    outages = Outages()
    manager = LeaseManager(made, "one", timedelta(seconds=30), outages, _holds)
    launcher = Launcher([])
    listen(engine, "ann", "bob")
    async with PrefectClient(prefect_api) as client:
        finalizer = Finalizer(client, manager, launcher, outages)
        yield Scene(
            client, manager, finalizer, CancelledTasks(client, manager.call), engine, tmp_path
        )
    await launcher.close()
    await made.dispose()


@pytest.mark.parametrize(
    ("state", "cause", "status"),
    [
        (Completed(), ExitCause.BY_ITSELF, "success"),
        (Failed(), ExitCause.BY_ITSELF, "failure"),
        (Running(), ExitCause.LIMIT, "failure"),
        (Cancelling(), ExitCause.CANCELLED, "revoked"),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
async def test_an_end_is_told_to_whom_it_concerns(
    scene: Scene, state: State[Any], cause: ExitCause, status: str
) -> None:
    task_id = await scene.run(state)
    await scene.finalize(task_id, cause)
    (event,) = scene.told()
    assert event["type"] == "task.ended"
    assert event["data"] == {"task_id": str(task_id), "kind": "compute", "status": status}
    ended = (await scene.client.read_flow_run(task_id)).state
    assert ended is not None
    assert event["timestamp"] == ended.timestamp.isoformat().replace("+00:00", "Z")
    assert scene.told("bob") == []


async def test_an_attempt_that_is_not_the_last_is_no_end(scene: Scene) -> None:
    task_id = await scene.run(Running())
    await scene.finalize(task_id, ExitCause.HANDED_BACK)
    assert (await scene.client.read_flow_run(task_id)).state_name == "AwaitingRetry"
    assert scene.told() == []


async def test_a_task_of_a_schedule_is_told_to_everybody(scene: Scene) -> None:
    await scene.finalize(await scene.run(Completed(), ["autoindex", "refresh"]))
    await scene.finalize(await scene.run(Completed(), ["somebody-elses"]))
    assert [len(scene.told(user)) for user in ("ann", "bob")] == [1, 1]


async def test_a_joined_task_is_told_to_those_who_have_not_left(scene: Scene) -> None:
    joined, left = await scene.run(Completed()), await scene.run(Completed())
    bob = Author("bob")
    with scene.engine.begin() as connection:
        for task_id in (joined, left):
            shared_tasks.join(connection, bob, task_id, "ann")
        shared_tasks.cancel(connection, bob, {left: "ann"})
    for task_id in (joined, left):
        await scene.finalize(task_id)
    assert len(scene.told("ann")) == 2
    assert [one["data"]["task_id"] for one in scene.told("bob")] == [str(joined)]


async def test_who_dies_before_the_release_leaves_it_to_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await scene.run(Completed())
    tell = outbox.tell

    class Died(BaseException):
        pass

    def dies(*told: Any) -> None:
        tell(*told)
        raise Died  # the transaction is not committed

    monkeypatch.setattr(outbox, "tell", dies)
    with pytest.raises(Died):
        await scene.finalize(task_id)
    monkeypatch.undo()
    assert scene.told() == []
    manager = scene.lease_manager
    with scene.engine.begin() as connection:
        connection.exec_driver_sql("update leases set expires_at = now() - interval '1 s'")
    (lost,) = await manager.call(leases.expired)
    seized = await manager.call(leases.seize, lost, "two", manager.lifetime)
    assert seized is not None
    await scene.finalizer.finalize(seized, LOST)
    assert len(scene.told()) == 1


async def test_a_task_cancelled_before_it_begins_is_told_once(scene: Scene) -> None:
    task_id = await scene.run(Scheduled())
    with scene.engine.begin() as connection:
        assert shared_tasks.cancel(connection, Author("ann"), {task_id: "ann"}) == [task_id]
    await scene.cancelled.look()
    assert scene.told() == []  # it has not ended yet
    await scene.client.set_flow_run_state(task_id, Cancelled(message="Cancelled by ann"))
    for _ in range(2):
        await scene.cancelled.look()
    (event,) = scene.told()
    assert event["data"] == {"task_id": str(task_id), "kind": "compute", "status": "revoked"}
    with scene.engine.begin() as connection:
        assert cancellations.load(connection) == []


async def test_a_task_cancelled_while_it_runs_is_told_once(scene: Scene) -> None:
    task_id = await scene.run(Running())
    with scene.engine.begin() as connection:
        shared_tasks.cancel(connection, Author("ann"), {task_id: "ann"})
    await scene.client.set_flow_run_state(task_id, Cancelling())
    await scene.finalize(task_id, ExitCause.CANCELLED)
    await scene.cancelled.look()
    assert [one["data"]["status"] for one in scene.told()] == ["revoked"]


async def test_an_end_that_is_put_back_is_no_second_one(scene: Scene) -> None:
    """As one that a cancellation has overwritten: the same state gets another id."""
    task_id = await scene.run(Completed())
    with scene.engine.begin() as connection:
        cancellations.note(connection, [task_id])
    await scene.finalize(task_id)
    await scene.client.set_flow_run_state(task_id, Completed(), force=True)
    await scene.cancelled.look()
    assert [one["data"]["status"] for one in scene.told()] == ["success"]


async def test_a_cancelled_task_that_is_deleted_is_forgotten(scene: Scene) -> None:
    ids = [await scene.run(Scheduled()) for _ in range(3)]
    with scene.engine.begin() as connection:
        cancellations.note(connection, ids)
        cancellations.note(connection, ids)
    await scene.client.delete_flow_run(ids[0])
    await scene.cancelled.look()
    with scene.engine.begin() as connection:
        assert cancellations.load(connection) == ids[1:]


@pytest.fixture
def workers(prefect_api: str, settings: Settings, tmp_path: Path) -> Iterator[Yard]:
    with yard(prefect_api, settings, tmp_path, f"told-{uuid4()}") as made:
        yield made


def test_a_worker_tells_of_what_it_runs_and_of_what_is_cancelled(
    workers: Yard, engine: Engine
) -> None:
    listen(engine, "ann")
    client: SyncPrefectClient = workers.client
    ran = workers.post("sleep", note=workers.note("ran"), seconds=0.0)
    waits = workers.post("sleep", note=workers.note("waits"))
    for task_id in (ran, waits):
        client.update_flow_run(task_id, tags=TAGS)
    with engine.begin() as connection:
        shared_tasks.cancel(connection, Author("ann"), {waits: "ann"})
    workers.cancel(waits)
    workers.start()
    workers.until(lambda: len(told(engine, "ann")) == 2)
    found = {one["data"]["task_id"]: one["data"]["status"] for one in told(engine, "ann")}
    assert found == {str(ran): "success", str(waits): "revoked"}


def test_ends_in_a_storm_are_all_told_and_signed(
    workers: Yard, engine: Engine, tmp_path: Path
) -> None:
    """One of two workers is killed, and so is the receiver; each end arrives, with its state."""
    port, file, secret = free_port(), tmp_path / "received", signature.new_secret()
    with engine.begin() as connection:
        url = f"http://127.0.0.1:{port}/"
        endpoints.create(connection, Author("ann"), url, ["task.ended"], secret)
    ids = [workers.post("sleep", note=workers.note("storm"), seconds=0.0) for _ in range(12)]
    for task_id in ids:
        workers.client.update_flow_run(task_id, tags=TAGS)
    chosen = {
        "AUTOINDEX_WEBHOOK_PRIVATE_ADDRESSES": "true",
        "AUTOINDEX_LEASE_SECONDS": "3",
        "AUTOINDEX_RETRY_DELAY_SECONDS": "0",
    }

    def hurry() -> None:
        """Let the time to the next attempts pass, also that of who was killed."""
        with engine.begin() as connection:
            soon = "update webhook_deliveries set next_attempt_at = now(), outcome = 'later'"
            connection.exec_driver_sql(f"{soon} where delivered_at is null")

    def got() -> dict[str, str]:
        hurry()
        lines = file.read_text().splitlines() if file.exists() else []
        return dict(line.split()[::-1] for line in lines)

    first, _ = (workers.start(name, limit=2, **chosen) for name in ("one", "two"))
    with recorder(port, file, secret):
        workers.until(lambda: len(got()) >= 2)
        first.process.kill()
    workers.until(lambda: len(told(engine, "ann")) >= 6)
    with recorder(port, file, secret):
        workers.until(lambda: len(got()) == 12)
    with engine.begin() as connection:
        ids_told = set(connection.exec_driver_sql("select message_id from webhook_deliveries"))
    assert set(got()) == {one for (one,) in ids_told}
    assert set(got().values()) == {"signed"}
    ended = [one["data"]["task_id"] for one in told(engine, "ann")]
    assert sorted(ended) == sorted(map(str, ids))
