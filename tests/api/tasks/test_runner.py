"""The contract of `api.tasks.runner.TaskRunner`, held to by Prefect and by its twin in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from api.tasks.runner import (
    Kind,
    Query,
    Status,
    TaskFinished,
    TaskRunner,
    TaskUnknown,
)
from tests.api.in_memory import InMemory
from tests.api.stages import MemoryStage, PrefectStage, Stage
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio


@dataclass
class Scene:
    runner: TaskRunner
    stage: Stage


# Named here: who asks for a fixture by its value is not seen to use it.
ON_PREFECT = pytest.param("prefect", marks=[pytest.mark.server, pytest.mark.xdist_group("facade")])


@pytest.fixture(params=["memory", ON_PREFECT])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    if request.param == "memory":
        twin = InMemory()
        yield Scene(twin, MemoryStage(twin))
        return
    url = request.getfixturevalue("prefect_url")
    # The rules are tried here, not how soon a busy machine answers.
    runner = PrefectRunner(Connection(url=url), answer_seconds=HANG_SECONDS)
    async with httpx.AsyncClient(base_url=url, timeout=HANG_SECONDS, trust_env=False) as client:
        yield Scene(runner, PrefectStage(client))
    await runner.aclose()


@pytest.fixture
def user() -> str:
    """Nobody else's name: the server is shared by all tests."""
    return f"ada-{uuid4().hex[:8]}"


async def start(scene: Scene, user: str, kind: Kind = Kind.REFRESH, **parameters: Any) -> Any:
    started = await scene.runner.start(kind, parameters, user=user)
    return started.task


async def test_a_started_task_is_pending_on_its_queue(scene: Scene, user: str) -> None:
    started = await scene.runner.start(Kind.REFRESH, {"mode": "full"}, user=user)
    assert started.new
    task = await scene.runner.read(started.task.id)
    assert (task.kind, task.status, task.user) == (Kind.REFRESH, Status.PENDING, user)
    assert task.parameters == {"mode": "full"}
    assert task.started_at is None
    assert task.completed_at is None
    assert task.error is None


async def test_an_idempotency_key_starts_one_task(scene: Scene, user: str) -> None:
    key = uuid4().hex
    first = await scene.runner.start(Kind.COMPUTE, {}, user=user, idempotency_key=key)
    second = await scene.runner.start(Kind.COMPUTE, {}, user=user, idempotency_key=key)
    other = await scene.runner.start(Kind.REFRESH, {}, user=user, idempotency_key=key)
    assert second.task.id == first.task.id
    assert (first.new, second.new, other.new) == (True, False, True)
    assert other.task.id != first.task.id


@pytest.mark.parametrize(
    ("state", "name", "status"),
    [
        ("SCHEDULED", "Late", Status.PENDING),
        ("SCHEDULED", "AwaitingConcurrencySlot", Status.PENDING),
        ("SCHEDULED", "AwaitingRetry", Status.RETRY),
        ("SCHEDULED", "AwaitingTurn", Status.PENDING),
        ("PENDING", None, Status.PENDING),
        ("PENDING", "Submitting", Status.PENDING),
        ("PAUSED", None, Status.PENDING),
        ("RUNNING", None, Status.STARTED),
        ("COMPLETED", None, Status.SUCCESS),
        ("FAILED", None, Status.FAILURE),
        ("FAILED", "TimedOut", Status.FAILURE),
        ("CRASHED", None, Status.FAILURE),
        ("CANCELLING", None, Status.REVOKED),
        ("CANCELLED", None, Status.REVOKED),
    ],
)
async def test_every_state_has_its_status(
    scene: Scene, user: str, state: str, name: str | None, status: Status
) -> None:
    task = await start(scene, user)
    await scene.stage.move(task.id, state, name)
    assert (await scene.runner.read(task.id)).status is status
    for wanted in Status:
        listed = await scene.runner.search(Query(user=user, status=wanted), page=1, per_page=10)
        assert [found.id for found in listed.tasks] == ([task.id] if wanted is status else [])
        assert listed.total == (1 if wanted is status else 0)


async def test_a_failure_shows_our_sentence_and_no_more(scene: Scene, user: str) -> None:
    ours, theirs = await start(scene, user), await start(scene, user)
    prefix = "Flow run encountered an exception: "
    await scene.stage.move(ours.id, "FAILED", message=f"{prefix}SymbolRefused: XX: unknown")
    await scene.stage.move(theirs.id, "FAILED", message=f"{prefix}OperationalError: host=secret")
    assert (await scene.runner.read(ours.id)).error == "XX: unknown"
    hidden = (await scene.runner.read(theirs.id)).error
    assert hidden is not None
    assert "OperationalError" in hidden
    assert "secret" not in hidden


async def test_a_run_has_its_times(scene: Scene, user: str) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    task = await start(scene, user)
    await scene.stage.move(task.id, "RUNNING")
    await scene.stage.move(task.id, "COMPLETED")
    done = await scene.runner.read(task.id)
    assert done.started_at is not None
    assert done.completed_at is not None
    assert before < done.started_at <= done.completed_at < datetime.now(UTC) + timedelta(seconds=5)


async def test_an_unknown_id_is_unknown(scene: Scene) -> None:
    with pytest.raises(TaskUnknown):
        await scene.runner.read(uuid4())
    with pytest.raises(TaskUnknown):
        await scene.runner.cancel(uuid4(), user="ada")


async def test_a_queued_task_is_cancelled_at_once(scene: Scene, user: str) -> None:
    task = await start(scene, user)
    cancelled = await scene.runner.cancel(task.id, user=user)
    assert cancelled.status is Status.REVOKED
    assert cancelled.started_at is None
    assert cancelled.completed_at is not None
    with pytest.raises(TaskFinished):
        await scene.runner.cancel(task.id, user=user)


async def test_a_claimed_task_that_was_cancelled_does_not_begin(scene: Scene, user: str) -> None:
    task = await start(scene, user)
    await scene.stage.claim(task.id, "host-1")
    assert (await scene.runner.cancel(task.id, user=user)).status is Status.REVOKED
    await scene.stage.begin(task.id)
    after = await scene.runner.read(task.id)
    assert after.status is Status.REVOKED
    assert after.started_at is None


async def test_a_claimed_task_begins(scene: Scene, user: str) -> None:
    task = await start(scene, user)
    await scene.stage.claim(task.id, "host-1")
    await scene.stage.begin(task.id)
    assert (await scene.runner.read(task.id)).status is Status.STARTED


@pytest.mark.parametrize("waits", ["AwaitingRetry", "AwaitingTurn"])
async def test_a_task_between_two_attempts_is_cancelled_at_once(
    scene: Scene, user: str, waits: str
) -> None:
    task = await start(scene, user)
    await scene.stage.claim(task.id, "host-1")
    await scene.stage.move(task.id, "RUNNING")
    await scene.stage.move(task.id, "SCHEDULED", waits)
    cancelled = await scene.runner.cancel(task.id, user=user)
    assert cancelled.status is Status.REVOKED
    assert cancelled.started_at is not None
    assert cancelled.completed_at is not None


async def test_a_running_task_is_cancelling_until_its_worker_has_ended_it(
    scene: Scene, user: str
) -> None:
    task = await start(scene, user)
    await scene.stage.claim(task.id, "host-1")
    await scene.stage.move(task.id, "RUNNING")
    for _ in range(2):
        cancelled = await scene.runner.cancel(task.id, user=user)
        assert cancelled.status is Status.REVOKED
        assert cancelled.completed_at is None


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
async def test_what_has_ended_is_not_cancelled(scene: Scene, user: str, state: str) -> None:
    task = await start(scene, user)
    await scene.stage.move(task.id, state)
    before = (await scene.runner.read(task.id)).status
    with pytest.raises(TaskFinished) as refused:
        await scene.runner.cancel(task.id, user=user)
    assert refused.value.status is before
    assert (await scene.runner.read(task.id)).status is before


async def test_a_list_is_newest_first_paged_and_counted(scene: Scene, user: str) -> None:
    tasks = [await start(scene, user) for _ in range(5)]
    newest_first = [task.id for task in reversed(tasks)]
    pages = [
        await scene.runner.search(Query(user=user), page=page, per_page=2) for page in (1, 2, 3, 4)
    ]
    assert [page.total for page in pages] == [5] * 4
    assert [task.id for page in pages for task in page.tasks] == newest_first


async def test_a_list_is_read_on_from_a_place_while_tasks_arrive(scene: Scene, user: str) -> None:
    noon = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=7) - timedelta(days=1)
    times = [noon + timedelta(hours=hours) for hours in (0, 1, 1, 1, 1, 1, 1, 1, 2)]
    tasks = [
        (await scene.runner.start(Kind.CLEANUP, {}, user=user, run_at=time)).task for time in times
    ]
    page = await scene.runner.search(Query(user=user), page=1, per_page=2)
    listed, totals = [*page.tasks], [page.total]
    while page.end is not None and len(listed) < 20:
        await start(scene, user)
        page = await scene.runner.search(Query(user=user), page=1, per_page=2, after=page.end)
        listed += page.tasks
        totals.append(page.total)
    assert sorted(task.id for task in listed) == sorted(task.id for task in tasks)
    assert [task.due_at for task in listed] == times[::-1]
    assert totals == [9, 7, 5, 3, 1]


async def test_a_list_is_narrowed(scene: Scene, user: str) -> None:
    refresh = await start(scene, user, Kind.REFRESH)
    middle = datetime.now(UTC)
    report = await start(scene, user, Kind.REPORT)

    async def found(**narrowed: Any) -> list[Any]:
        page = await scene.runner.search(Query(user=user, **narrowed), page=1, per_page=10)
        return [task.id for task in page.tasks]

    assert await found() == [report.id, refresh.id]
    assert await found(kind=Kind.REFRESH) == [refresh.id]
    assert await found(kind=Kind.CLEANUP) == []
    assert await found(since=middle) == [report.id]


async def test_a_schedules_future_runs_are_not_listed(scene: Scene) -> None:
    later = await scene.stage.schedule(Kind.CLEANUP, timedelta(hours=1))
    listed = await scene.runner.search(Query(kind=Kind.CLEANUP), page=1, per_page=100)
    assert later not in [task.id for task in listed.tasks]


async def test_activity_sorts_tasks_by_where_they_are(scene: Scene, user: str) -> None:
    queued, claimed, running, waiting = [await start(scene, user) for _ in range(4)]
    later = await scene.stage.schedule(Kind.REPORT, timedelta(hours=1))
    done = await start(scene, user)
    await scene.stage.claim(claimed.id, "host-1")
    await scene.stage.claim(running.id, "host-1")
    await scene.stage.move(running.id, "RUNNING")
    await scene.stage.move(waiting.id, "SCHEDULED", "AwaitingRetry")
    await scene.stage.move(done.id, "COMPLETED")

    activity = await scene.runner.activity()
    ours = {queued.id, claimed.id, running.id, waiting.id, later, done.id}
    groups = {
        name: ours & {task.id for task in getattr(activity, name).tasks}
        for name in ("active", "reserved", "scheduled")
    }
    assert groups == {
        "active": {running.id},
        "reserved": {queued.id, claimed.id},
        "scheduled": {waiting.id, later},
    }
    by_id = {task.id: task for task in activity.active.tasks}
    assert by_id[running.id].worker == "host-1"
    for name in groups:
        page = getattr(activity, name)
        assert page.total >= len(page.tasks)


async def test_what_is_due_and_unclaimed_is_queued(scene: Scene, user: str) -> None:
    before = await scene.runner.queued(Kind.CLEANUP)
    running, waiting, _ = [await start(scene, user, Kind.CLEANUP) for _ in range(3)]
    await start(scene, user, Kind.REPORT)
    await scene.stage.schedule(Kind.CLEANUP, timedelta(hours=1))
    await scene.stage.move(running.id, "RUNNING")
    await scene.stage.move(waiting.id, "SCHEDULED", "AwaitingRetry")
    assert await scene.runner.queued(Kind.CLEANUP) == before + 1


async def test_a_task_for_later_is_scheduled_and_cancelled(scene: Scene, user: str) -> None:
    due, later = [await scene.runner.queued(Kind.COMPUTE, later=wanted) for wanted in (False, True)]
    run_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    started = await scene.runner.start(Kind.COMPUTE, {}, user=user, run_at=run_at)
    task = started.task
    assert (task.status, task.due_at) == (Status.PENDING, run_at)
    assert await scene.runner.queued(Kind.COMPUTE, later=True) == later + 1
    assert await scene.runner.queued(Kind.COMPUTE) == due
    activity = await scene.runner.activity()
    assert task.id in [found.id for found in activity.scheduled.tasks]
    assert (await scene.runner.search(Query(user=user), page=1, per_page=10)).total == 0
    await scene.runner.cancel(task.id, user=user)
    cancelled = await scene.runner.read(task.id)
    assert cancelled.status is Status.REVOKED
    assert cancelled.completed_at is not None
    assert await scene.runner.queued(Kind.COMPUTE, later=True) == later


async def test_a_task_and_its_retry_name_each_other(scene: Scene, user: str) -> None:
    ended = await start(scene, user)
    await scene.stage.move(ended.id, "FAILED")
    started = await scene.runner.start(Kind.REFRESH, {}, user=user, retry_of=ended.id)
    for _ in range(2):
        await scene.runner.mark_retried(ended.id, started.task.id)
    old, new = await scene.runner.read(ended.id), await scene.runner.read(started.task.id)
    assert (old.retry_of, old.retried_as, old.user) == (None, new.id, user)
    assert (new.retry_of, new.retried_as) == (ended.id, None)
    with pytest.raises(TaskUnknown):
        await scene.runner.mark_retried(uuid4(), new.id)


async def test_workers_that_are_online_are_named(scene: Scene) -> None:
    await scene.stage.worker_online("host-7")
    assert "host-7" in await scene.runner.pool.workers()


async def test_queues_are_paused_and_resumed(scene: Scene) -> None:
    queues = await scene.runner.pool.queues()
    first = next(iter(queues))
    assert not any(queues.values())
    try:
        assert await scene.runner.pool.pause([first], paused=True) == {**queues, first: True}
        assert (await scene.runner.activity()).paused == [first]
        assert (await scene.runner.census(datetime.now(UTC))).paused == [first]
        everything = await scene.runner.pool.pause([*queues], paused=True)
        assert everything == dict.fromkeys(queues, True)
    finally:
        assert await scene.runner.pool.pause([*queues], paused=False) == queues


async def test_many_are_read_at_once(scene: Scene, user: str) -> None:
    queued, running, waiting = [await start(scene, user) for _ in range(3)]
    await scene.stage.move(running.id, "RUNNING")
    await scene.stage.move(waiting.id, "SCHEDULED", "AwaitingRetry")
    unknown = uuid4()
    found = await scene.runner.read_many([queued.id, running.id, waiting.id, unknown])
    assert {task_id: task.status for task_id, task in found.items()} == {
        queued.id: Status.PENDING,
        running.id: Status.STARTED,
        waiting.id: Status.RETRY,
    }
    assert await scene.runner.read_many([unknown]) == {}


async def test_changes_are_told(scene: Scene, user: str) -> None:
    """Each step of a task is told, soon enough for whoever waits for it."""
    task = await start(scene, user)
    async with aclosing(scene.runner.changes()) as changes, asyncio.timeout(HANG_SECONDS):
        assert await anext(changes) is None
        # A subscription may take effect a moment later than it is taken on.
        told = asyncio.create_task(until_told(changes, task.id))
        while not told.done():
            await scene.stage.move(task.id, "SCHEDULED")
            await asyncio.wait({told}, timeout=0.5)
        for state in ("PENDING", "RUNNING", "COMPLETED"):
            await scene.stage.move(task.id, state)
            await until_told(changes, task.id)


async def until_told(changes: AsyncGenerator[UUID | None], task_id: UUID) -> None:
    while await anext(changes) != task_id:
        pass


async def test_a_census_counts_tasks_by_kind_and_status(scene: Scene, user: str) -> None:
    before = await scene.runner.census(datetime.now(UTC))
    since = datetime.now(UTC) - timedelta(seconds=5)
    queued, running = [await start(scene, user, Kind.REPORT) for _ in range(2)]
    await scene.stage.move(running.id, "RUNNING")
    after = await scene.runner.census(since)
    for status in (Status.PENDING, Status.STARTED):
        pair = (Kind.REPORT, status)
        assert after.tasks.get(pair, 0) == before.tasks.get(pair, 0) + 1
    assert running.id in [task.id for task in after.started]
    assert queued.id not in [task.id for task in after.started]
    assert after.oldest_due
