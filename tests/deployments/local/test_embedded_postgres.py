"""The embedded PostgreSQL as a process: starts, survives, refuses, and leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from autoindex.storage.postgres import listening
from deployments import bootstrap
from deployments.local.child import ChildFailed
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.server


def connect(server: EmbeddedPostgres) -> psycopg.Connection:
    return psycopg.connect(host=str(server.socket_dir), user="postgres", autocommit=True)


def test_data_survive_a_restart(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", tmp_path / "run") as server, connect(server) as c:
        c.execute("create table kept as select 42 as answer")
    with EmbeddedPostgres(tmp_path / "pg", tmp_path / "run") as server, connect(server) as c:
        assert c.execute("select answer from kept").fetchone() == (42,)


def test_data_survive_a_kill(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", tmp_path / "run") as server:
        with connect(server) as c:
            c.execute("create table kept as select 42 as answer")
        parts = psutil.Process(server.child.pid).children(recursive=True)
        os.kill(server.child.pid, signal.SIGKILL)
        server.child.process.wait()
        # As long as one of them is there, the next server does not start.
        assert not psutil.wait_procs(parts, timeout=HANG_SECONDS)[1]
        with pytest.raises(ChildFailed, match="SIGKILL"):
            server.child.check_alive()
    with EmbeddedPostgres(tmp_path / "pg", tmp_path / "run") as server, connect(server) as c:
        assert c.execute("select answer from kept").fetchone() == (42,)


def test_only_the_owner_can_reach_the_socket(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", tmp_path / "run") as server:
        assert server.socket_dir.stat().st_mode & 0o077 == 0
        listening = psutil.Process(server.child.pid).net_connections(kind="tcp")
        assert listening == []


@pytest.mark.parametrize("name", ["S pace ü&+%41#?", 'a,b"c'])
def test_its_folder_may_have_any_name(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    settings = Settings(data_dir=tmp_path_factory.mktemp("odd") / name)
    with EmbeddedPostgres(settings.data_dir / "postgres", settings.socket_dir) as server:
        bootstrap.prepare_database(settings)
        bootstrap.create_prefect_database(settings)
        asyncio.run(_reach(settings, bootstrap.prefect_database(settings), server.url()))


async def _reach(settings: Settings, *urls: str) -> None:
    for url in urls:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            assert await connection.scalar(text("select 1")) == 1
        await engine.dispose()
    async with aclosing(listening.notifications(settings, "some")) as told:
        assert await anext(told) is None


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg", tmp_path / "run"):
        second = EmbeddedPostgres(tmp_path / "pg", tmp_path / "run2", tmp_path / "second.log")
        with pytest.raises(ChildFailed, match=r"postmaster\.pid"):
            second.start()


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path\n"
        "from deployments.local.embedded_postgres import EmbeddedPostgres\n"
        f"s = EmbeddedPostgres(Path({str(tmp_path / 'pg')!r}), Path({str(tmp_path / 'run')!r}))\n"
        "s.start(); print(s.child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _gone, alive = psutil.wait_procs([server], timeout=HANG_SECONDS)
    assert not alive
    assert not (tmp_path / "pg" / "postmaster.pid").exists()


def test_a_socket_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o755)
    with pytest.raises(ConfigurationError, match="must belong to you alone"):
        EmbeddedPostgres(tmp_path / "pg", tmp_path / "run").start()
