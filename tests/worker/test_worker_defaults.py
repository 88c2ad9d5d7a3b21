"""What a worker does where nobody chose, and that a choice is kept."""

import os
import socket

import pytest
from prefect import get_client
from prefect.settings import PREFECT_WORKER_HEARTBEAT_SECONDS, temporary_settings

from worker import POOL
from worker.autoindex_worker import AutoindexWorker


@pytest.mark.parametrize(("chosen", "seconds"), [(None, 10), (45, 45)])
def test_a_dead_worker_is_soon_known_to_be_dead(chosen: int | None, seconds: int) -> None:
    with temporary_settings({PREFECT_WORKER_HEARTBEAT_SECONDS: chosen} if chosen else {}):
        # As Prefect's command line makes one: it passes on the setting, whoever chose it.
        passed = int(PREFECT_WORKER_HEARTBEAT_SECONDS.value())
        worker = AutoindexWorker("autoindex", heartbeat_interval_seconds=passed)
    assert worker.heartbeat_interval_seconds == seconds


def test_a_worker_is_named_for_its_host_and_process() -> None:
    assert AutoindexWorker(POOL, name=None).name == f"{socket.gethostname()}:{os.getpid()}"
    assert AutoindexWorker(POOL, name="mine").name == "mine"


@pytest.mark.anyio
async def test_a_worker_of_any_name_signs_off(prefect_api: str) -> None:
    for name in ("plain", "odd name #1?&+ü"):
        worker = AutoindexWorker(POOL, name=name)
        async with get_client() as worker._client:
            await worker._client.send_worker_heartbeat(POOL, name, 10.0)
            await worker._sign_off()
            workers = await worker._client.read_workers_for_work_pool(POOL)
        assert name not in [one.name for one in workers]
