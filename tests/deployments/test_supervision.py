"""Limits of one run's process, a real one, and what does not count on them."""

import asyncio
import os
import subprocess
import sys
import time

import pytest

from deployments.worker.configuration import AutoindexJobConfiguration
from deployments.worker.outages import Outages
from deployments.worker.process import Process
from deployments.worker.supervision import Cause, Supervision

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_while_prefect_is_away_a_run_s_time_stands_still() -> None:
    outages = Outages()
    command = [sys.executable, "-c", "import time; time.sleep(50)"]
    sleeper = subprocess.Popen(command, start_new_session=True)
    process = Process(sleeper.pid, os.pidfd_open(sleeper.pid))
    supervision = Supervision(AutoindexJobConfiguration(hard_time_limit_seconds=3), outages)
    watching = asyncio.create_task(supervision.watch(process))
    await asyncio.sleep(0.2)
    outages.asked_in_vain("Prefect", time.monotonic())
    await asyncio.sleep(4)
    assert sleeper.poll() is None
    outages.answered("Prefect")
    process.end(await asyncio.to_thread(sleeper.wait))
    ending = await watching
    assert ending.cause is Cause.LIMIT
    assert ending.reason == "hard time limit of 3 s exceeded"


def test_an_outage_lasts_until_every_part_is_back() -> None:
    outages, began = Outages(), time.monotonic()
    outages.asked_in_vain("Prefect", began - 5)
    outages.asked_in_vain("the database", began - 3)
    outages.answered("Prefect")
    time.sleep(0.1)
    outages.answered("the database")
    length = outages.seconds
    assert length >= 5.1
    time.sleep(0.1)
    outages.answered("the database")
    assert outages.seconds == length
