"""Warm starts that fail, and come back."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import psutil
import pytest

from tests.bounds import HANG_SECONDS
from worker import launcher
from worker.launcher import Launcher, LaunchError
from worker.process import Process
from worker.run_spec import RunSpec

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


LOOK_AROUND = "tests.worker.worker_flows.look_around"


def run_spec() -> RunSpec:
    """For a run that waits for a server that is not there."""
    return RunSpec(task_id=uuid4(), env={"PREFECT_API_URL": "http://127.0.0.1:9/api"})


@asynccontextmanager
async def starter_of(entrypoints: list[str]) -> AsyncIterator[Launcher]:
    made = Launcher(entrypoints)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def zygote_of(run: Process) -> psutil.Process:
    """The parent of a run, which has one process between itself and this one."""
    zygote = psutil.Process(run.pid).parent()
    guard = zygote and zygote.parent()
    assert zygote is not None
    assert guard is not None
    assert guard.ppid() == os.getpid()
    return zygote


async def end(run: Process) -> None:
    run.send(launcher.signal.SIGKILL)
    await run.ended


async def test_a_zygote_that_could_not_load_is_made_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entrypoints = ["flows.no_such_module.flow"]
    async with starter_of(entrypoints) as made:
        cold = await made.start(run_spec())
        entrypoints[:] = [LOOK_AROUND]
        monkeypatch.setattr(launcher, "_REPLACE_SECONDS", 0.0)
        busy = await made.start(run_spec())
        assert zygote_of(cold) == zygote_of(busy)
        for run in (cold, busy):
            await end(run)
        warm = await made.start(run_spec())
        assert zygote_of(warm).memory_info().rss > 100_000_000
        await end(warm)


async def test_an_order_that_is_not_answered_gets_no_process_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = psutil.Process().children()
    async with starter_of([LOOK_AROUND]) as made:
        run = await made.start(run_spec())
        zygote = zygote_of(run)
        monkeypatch.setattr(launcher, "_FORK_SECONDS", 1)
        zygote.suspend()
        with pytest.raises(LaunchError, match="did not answer within 1 s"):
            await made.start(run_spec())
        assert not zygote.is_running()
        assert psutil.Process().children() == before
        assert await run.ended == -launcher.signal.SIGKILL
        monkeypatch.undo()
        await end(await made.start(run_spec()))


async def test_an_answer_that_comes_with_the_time_out_counts() -> None:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    waiting = asyncio.create_task(launcher._answer(answer, 1))
    await asyncio.sleep(0)
    time.sleep(1.1)  # this process is stalled
    loop.call_soon(answer.set_result, "started")  # before the time-out, in the same pass
    assert await waiting == "started"


async def test_a_start_that_nobody_waits_for_any_more_leaves_no_process() -> None:
    async with starter_of([LOOK_AROUND]) as made:
        first = await made.start(run_spec())
        zygote = zygote_of(first)
        await end(first)
        zygote.suspend()
        given_up = asyncio.create_task(made.start(run_spec()))
        while not made._zygote._starting:  # type: ignore[union-attr]
            await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        zygote.resume()
        run = await made.start(run_spec())
        deadline = asyncio.get_running_loop().time() + HANG_SECONDS
        while [child.pid for child in zygote.children()] != [run.pid]:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        await end(run)
