"""A facade of several processes: it starts on a slow machine, counts as one, and ends as one."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from api.auth import tokens
from api.monitoring.scrape_state import ScrapeLock
from autoindex.settings import Settings
from tests.bounds import HANG_SECONDS
from tests.ports import free_port

# Longer than the 5 seconds that uvicorn gives a process by itself; until the first ones are there.
SLOW = """
import os, sys, time
if "--multiprocessing-fork" in sys.orig_argv and not os.path.exists({quick!r}):
    time.sleep(7)
"""


class Facade:
    """Two processes, each of them slow to load, whose Prefect is away."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.quick = folder / "quick"
        (folder / "sitecustomize.py").write_text(SLOW.format(quick=str(self.quick)))
        env = {
            **os.environ,
            **settings.environment(),
            "PREFECT_API_URL": "http://127.0.0.1:1/api",
            "PYTHONPATH": str(folder),
        }
        self.url = settings.own_url
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.parent = psutil.Popen([sys.executable, "-m", "api"], env=env, stderr=log)
        token = tokens.mint(settings, "ada", ["tasks:read"], timedelta(hours=1))
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> httpx.Response:
        """Ask whichever process takes the connection."""
        return httpx.get(
            f"{self.url}{path}", headers=self.headers, timeout=HANG_SECONDS, trust_env=False
        )

    def until_it_answers(self) -> None:
        while self.parent.poll() is None:
            with suppress(httpx.TransportError):
                self.get("/health")
                return
            time.sleep(0.1)
        pytest.fail(self.log.read_text())

    @property
    def processes(self) -> set[psutil.Process]:
        """Those that serve."""
        return {
            child for child in self.parent.children() if "--multiprocessing-fork" in _command(child)
        }

    def health_checks(self) -> float:
        """How many there were, by its own count."""
        (count,) = [
            sample.value
            for family in parse(self.get("/metrics").text)
            for sample in family.samples
            if sample.name == "autoindex_requests_total" and sample.labels["route"] == "/health"
        ]
        return count


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # ended meanwhile
        return []


@pytest.fixture
def facade(api_settings: Settings, tmp_path: Path) -> Iterator[Facade]:
    changed = {"api_port": free_port(), "api_processes": 2}
    started = Facade(api_settings.model_copy(update=changed), tmp_path)
    yield started
    if started.parent.poll() is None:
        # The others end with it.
        started.parent.kill()
    started.parent.wait()


def test_it_starts_though_slow_and_counts_as_one_until_it_ends_as_one(facade: Facade) -> None:
    facade.until_it_answers()
    facade.quick.touch()
    first = facade.processes
    assert len(first) == 2
    assert "died" not in facade.log.read_text()  # none was started anew
    before = facade.health_checks()
    for _ in range(40):
        facade.get("/health")
    # Whoever is asked, it is the same number.
    assert {facade.health_checks() for _ in range(20)} == {before + 40}

    killed = first.pop()
    killed.send_signal(signal.SIGKILL)
    while len(facade.processes - {killed}) < 2:
        time.sleep(0.1)
    assert facade.health_checks() == before + 40
    assert "autoindex_followers 0.0" in facade.get("/metrics").text

    processes = facade.processes
    facade.parent.kill()
    assert not psutil.wait_procs(processes, timeout=HANG_SECONDS)[1]


def test_one_process_asks_at_a_time_and_the_next_knows_what_it_saw(tmp_path: Path) -> None:
    one, other = ScrapeLock(tmp_path), ScrapeLock(tmp_path)
    with one.acquire() as asked, other.acquire() as meanwhile:
        assert asked is not None
        assert meanwhile is None
        asked.at = 17.0
    with other.acquire() as asked:
        assert asked is not None
        assert asked.at == 17.0
