"""The facade as a process: what it needs to start, and what a client can do to it."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from api.auth import tokens
from api.tasks.runner import DEPLOYMENTS
from autoindex.settings import Settings
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.api.answers import EVERY_SCOPE, problem
from tests.bounds import HANG_SECONDS
from tests.pgbouncer import pgbouncer
from tests.ports import free_port
from worker.prefect_yaml import PREFECT_YAML

NOWHERE = "http://127.0.0.1:1/api"


COMMAND = [sys.executable, "-m", "api"]


def environment(settings: Settings, **changed: str) -> dict[str, str]:
    """The variables of a facade whose Prefect is away, on a port that nobody else has."""
    own = settings.environment() | {"AUTOINDEX_API_PORT": str(free_port())}
    return {**os.environ, **own, "PREFECT_API_URL": NOWHERE, **changed}


def test_a_facade_loads_neither_prefect_nor_what_computes() -> None:
    code = (
        "import sys, api.app, api.__main__;"
        "print(sorted({'prefect', 'pandas', 'numpy', 'exchange_calendars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"AUTOINDEX_JWT_SECRET": "changeme"}, "AUTOINDEX_JWT_SECRET: can be guessed"),
        ({"AUTOINDEX_JWT_SECRET": ""}, "AUTOINDEX_JWT_SECRET"),
        ({"PREFECT_API_URL": ""}, "PREFECT_API_URL is not set"),
        ({"AUTOINDEX_API_PORT": "x"}, "AUTOINDEX_API_PORT"),
        # One of several processes that ends at once would be started again for ever.
        (
            {"AUTOINDEX_API_PROCESSES": "2", "AUTOINDEX_JWT_SECRET": "changeme"},
            "AUTOINDEX_JWT_SECRET: can be guessed",
        ),
    ],
)
def test_it_says_what_it_needs(
    api_settings: Settings, changed: dict[str, str], reason: str
) -> None:
    env = environment(api_settings, **changed)
    ended = subprocess.run(
        COMMAND, env=env, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    assert ended.returncode != 0
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named(api_settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        env = environment(api_settings, AUTOINDEX_API_PORT=str(port))
        ended = subprocess.run(
            COMMAND, env=env, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
        )
    assert ended.returncode != 0
    assert f"AUTOINDEX_API_PORT {port}: Address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_pooler_that_keeps_no_session_is_refused(
    api_settings: Settings, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    with pgbouncer(server, tmp_path, pool_mode="transaction") as pooler:
        env = environment(api_settings, AUTOINDEX_DATABASE_URL=pooler.url("facade"))
        ended = subprocess.run(
            COMMAND, env=env, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
        )
    assert ended.returncode != 0
    (sentence,) = ended.stderr.splitlines()
    assert sentence.startswith("the facade does not start: settings, notifications, locks do not")
    assert "set pool_mode = session" in sentence


@pytest.fixture(scope="module")
def url(api_settings: Settings) -> Iterator[str]:
    """A facade whose Prefect is away."""
    port = free_port()
    env = environment(api_settings, AUTOINDEX_API_PORT=str(port))
    facade = subprocess.Popen(COMMAND, env=env, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until_it_answers(url, facade)
        yield url
    finally:
        facade.terminate()
        assert facade.wait(HANG_SECONDS) in (0, -15)


def until_it_answers(url: str, facade: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + HANG_SECONDS
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < deadline:
            assert facade.poll() is None
            with suppress(httpx.TransportError):
                http.get(f"{url}/health")
                return
            time.sleep(0.1)
    pytest.fail("the facade does not answer")


def test_without_prefect_it_says_so(url: str, api_settings: Settings) -> None:
    token = tokens.mint(api_settings, "ada", EVERY_SCOPE, timedelta(minutes=5))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=HANG_SECONDS, trust_env=False) as http:
        answers = [
            http.get("/ready"),
            http.post("/api/v1/background/refresh", json={}),
            http.get("/api/v1/background/active"),
            http.get("/api/v1/background/tasks"),
            http.delete("/api/v1/background/task/00000000-0000-4000-8000-000000000000"),
        ]
    for answer in answers:
        assert "refect" in problem(answer, 503)["detail"]
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.anyio
async def test_an_endless_body_is_cut_off(url: str) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"POST /health HTTP/1.1\r\nHost: facade\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(ConnectionError):
        await flood(writer, chunks=1_000)
    writer.close()


async def flood(writer: asyncio.StreamWriter, chunks: int) -> None:
    for _ in range(chunks):
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


def test_prefect_yaml_knows_the_deployments() -> None:
    plan = yaml.safe_load(PREFECT_YAML.read_text())
    assert {name for _, name in DEPLOYMENTS.values()} == {
        entry["name"] for entry in plan["deployments"]
    }
