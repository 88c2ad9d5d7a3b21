"""A real Prefect server in a process of its own, and a real receiver of what it sends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.bounds import HANG_SECONDS
from tests.ports import free_port
from worker.parent_death import die_with_parent

# Foreman, late runs and triggers look that often here, so that the tests need not wait.
QUICK = {
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_FOREMAN_INACTIVITY_HEARTBEAT_MULTIPLE": "1",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
}

# Without the services that schedules, notices and subtasks need: they take two thirds of the time
# of a server that runs flows.
LEAN = {
    f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false"
    for name in (
        *("TRIGGERS", "SCHEDULER", "LATE_RUNS", "FOREMAN", "TASK_RUN_RECORDER"),
        *("CANCELLATION_CLEANUP", "PAUSE_EXPIRATIONS", "REPOSSESSOR"),
    )
}


@contextmanager
def prefect_server(
    folder: Path, database_url: str, changed: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The URL of its API."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url,
        # Beside other work a statement may take longer than ten seconds, and would be a 500.
        "PREFECT_SERVER_DATABASE_TIMEOUT": str(HANG_SECONDS),
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": str(HANG_SECONDS),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        **(changed or {}),
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # Also where the tests are killed.
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - see die_with_parent
        )
    try:
        _wait(url, process, folder / "server.log")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    with httpx.Client(timeout=5, trust_env=False) as http:
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx.TransportError):
                if http.get(f"{url}/health").is_success:
                    return
            time.sleep(0.1)
    pytest.fail(f"the Prefect server did not start:\n{log.read_text()}")


class Receiver:
    """An HTTP server that keeps what is posted to it, and answers everything with one status."""

    def __init__(self, status: int = 200) -> None:
        received: list[tuple[str, Mapping[str, str], bytes]] = []
        self.received = received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                received.append((self.path, dict(self.headers), body))
                self.do_GET()

            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def texts(self) -> list[str]:
        """What Slack would show."""
        return [json.loads(body)["text"] for _, _, body in list(self.received)]

    def __enter__(self) -> "Receiver":
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
