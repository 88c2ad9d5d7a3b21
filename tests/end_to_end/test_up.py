"""`autoindex up` as its user sees it: what it says, and that nothing outlives it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
import pytest

from api.auth import tokens
from autoindex.settings import Settings
from benchmarks.ports import free_ports
from deployments.local import local_secret
from tests.bounds import HANG_SECONDS

PROJECT = Path(__file__).resolve().parents[2]
READY = "Ctrl-C stops everything."


class Up:
    """One `autoindex up`, its output in a file."""

    def __init__(self, folder: Path, ports: list[int], command: Sequence[str]) -> None:
        self.output = folder.parent / "output"
        names = ("API", "PREFECT", "SANDBOX")
        env = {f"AUTOINDEX_{name}_PORT": str(port) for name, port in zip(names, ports, strict=True)}
        with self.output.open("w") as output:
            self.process = psutil.Popen(
                command,
                cwd=PROJECT,
                env=os.environ | env | {"AUTOINDEX_DATA_DIR": str(folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def until(self, words: str) -> list[psutil.Process]:
        """Wait until it says so; every process of the stack."""
        deadline = time.monotonic() + HANG_SECONDS
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)
        return list(self.process.children(recursive=True))

    def ended(self) -> int:
        return int(self.process.wait(HANG_SECONDS))


COMMAND = (sys.executable, "-m", "deployments.cli", "up")


@contextmanager
def up(folder: Path, ports: list[int], command: Sequence[str] = COMMAND) -> Iterator[Up]:
    running = Up(folder, ports, command)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@pytest.fixture
def folder(memory_folder: Path) -> Iterator[Path]:
    with TemporaryDirectory(dir=memory_folder) as made:
        yield Path(made) / "var"


def test_nothing_outlives_a_stack_and_the_next_one_works(folder: Path) -> None:
    ports = free_ports(3)
    with up(folder, ports) as killed:
        parts = killed.until("✓ Database")
        killed.process.kill()
        assert not psutil.wait_procs(parts, timeout=HANG_SECONDS)[1]

    # As under `make up`: a shell that starts it and waits.
    shell = ("/bin/sh", "-c", f"{' '.join(COMMAND)} --with-parent; true")
    with up(folder, ports, shell) as orphaned:
        parts = orphaned.until("✓ Database")
        orphaned.process.kill()
        assert not psutil.wait_procs(parts, timeout=HANG_SECONDS)[1]

    # In a folder of its own: this is a first start.
    first = folder.parent / "first"
    with up(first, ports) as bereft:
        _ask_as_soon_as_ready(bereft, Settings(data_dir=first, api_port=ports[0]))
        parts = bereft.until(READY)
        (worker,) = [part for part in parts if "worker" in _command(part)]
        worker.kill()
        assert bereft.ended() == 1
        assert "Worker ended with SIGKILL" in bereft.said
        assert not psutil.wait_procs(parts, timeout=HANG_SECONDS)[1]

    with up(folder, ports) as stopped:
        parts = stopped.until(READY)
        assert '"status":"pending"' in _pasted(stopped.said)
        with up(folder, free_ports(3)) as second:
            assert second.ended() == 1
            assert f"in use by another stack (process {stopped.process.pid})" in second.said
        stopped.process.send_signal(signal.SIGTERM)
        assert stopped.ended() == 0
        assert not psutil.wait_procs(parts, timeout=HANG_SECONDS)[1]


def _ask_as_soon_as_ready(running: Up, settings: Settings) -> None:
    """The README's first requests, sent when `/ready` first says that they may be."""
    with httpx.Client(base_url=settings.own_url, trust_env=False, timeout=HANG_SECONDS) as http:
        while not _is_ready(http):
            assert running.process.poll() is None, running.said
            time.sleep(0.02)
        signing = local_secret.fill_in(settings)
        token = tokens.mint(signing, "me", ["tasks:run"], timedelta(hours=1))
        http.headers["Authorization"] = f"Bearer {token}"
        for body in ({"mode": "smart"}, {"mode": "full", "symbols": ["AAPL"]}):
            answer = http.post("/api/v1/background/refresh", json=body)
            assert answer.status_code == 202, answer.text


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/ready").is_success
    except httpx.TransportError:
        return False


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # ended meanwhile
        return []


def _pasted(said: str) -> str:
    """What the lines that it shows print in another terminal, which knows nothing of this one."""
    _, _, told = said.partition(f"In another terminal, in {PROJECT}:")
    lines = [line for line in told.splitlines() if line.startswith("  ")]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    shell = ["/bin/sh", "-ec", "\n".join(lines)]
    return subprocess.check_output(shell, cwd=PROJECT, env=env, text=True)


def test_a_taken_port_is_named_before_anything_starts(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with up(folder, [port, *free_ports(2)]) as refused:
            assert refused.ended() == 1
            assert f"port {port} is taken" in refused.said
            assert "AUTOINDEX_API_PORT" in refused.said
    assert not (folder / "postgres").exists()
