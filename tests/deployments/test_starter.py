"""Warm starts that fail, and come back."""

import os
from uuid import uuid4

import psutil
import pytest

from deployments.worker import starter
from deployments.worker.order import Order
from deployments.worker.starter import Starter

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def order() -> Order:
    """For a run that waits for a server that is not there."""
    return Order(task_id=uuid4(), env={"PREFECT_API_URL": "http://127.0.0.1:9/api"})


async def test_a_zygote_that_could_not_be_made_is_made_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entrypoints = ["flows.no_such_module.flow"]
    made = Starter(entrypoints)
    await made.open()
    try:
        cold = await made.start(order())
        assert psutil.Process(cold.pid).ppid() == os.getpid()
        entrypoints[:] = ["tests.deployments.worker_flows.look_around"]
        monkeypatch.setattr(starter, "_AGAIN_SECONDS", 0.0)
        warm = await made.start(order())
        zygote = psutil.Process(warm.pid).parent()
        assert zygote is not None
        assert zygote.ppid() == os.getpid()
        for process in (cold, warm):
            process.send(starter.signal.SIGKILL)
            await process.ended
    finally:
        await made.close()
