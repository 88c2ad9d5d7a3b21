"""Limits of one run's process, a real one, and what does not count on them."""

import asyncio
import os
import subprocess
import sys

import pytest

from tests.bounds import HANG_SECONDS
from worker import outages, run_limits
from worker.configuration import AutoindexJobConfiguration
from worker.outages import Outages
from worker.process import Process
from worker.run_limits import ExitCause, Supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.reads = 0

    def monotonic(self) -> float:
        self.reads += 1
        return self.now

    async def looked_at(self) -> None:
        """Wait until somebody has seen what it shows now."""
        before = self.reads
        async with asyncio.timeout(HANG_SECONDS):
            while self.reads < before + 4:
                await asyncio.sleep(0.01)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (run_limits, outages):
        monkeypatch.setattr(module, "time", made)
    return made


async def test_while_prefect_is_away_a_run_s_time_stands_still(clock: Clock) -> None:
    outage = Outages()
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    sleeper = subprocess.Popen(command, start_new_session=True)
    process = Process(sleeper.pid, os.pidfd_open(sleeper.pid))
    watched = Supervisor(AutoindexJobConfiguration(hard_time_limit_seconds=3), outage)
    watching = asyncio.create_task(watched.watch(process))
    await clock.looked_at()
    outage.failed("Prefect", clock.now)
    clock.now += 4
    await clock.looked_at()
    assert sleeper.poll() is None
    outage.answered("Prefect")
    clock.now += 2
    await clock.looked_at()
    assert sleeper.poll() is None
    clock.now += 2
    process.end(await asyncio.to_thread(sleeper.wait))
    exited = await watching
    assert exited.cause is ExitCause.LIMIT
    assert exited.reason == "hard time limit of 3 s exceeded"


def test_an_outage_lasts_until_every_part_is_back(clock: Clock) -> None:
    outage = Outages()
    outage.failed("Prefect", clock.now - 5)
    outage.failed("the database", clock.now - 3)
    outage.answered("Prefect")
    clock.now += 2
    outage.answered("the database")
    assert outage.seconds == 7
    clock.now += 2
    outage.answered("the database")
    assert outage.seconds == 7
