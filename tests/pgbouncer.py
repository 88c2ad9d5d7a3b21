"""A real PgBouncer in front of the tests' PostgreSQL, set up as the guide for operators says."""

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from deployments.local import ordinary_user
from deployments.local.child import Child
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.bounds import HANG_SECONDS
from tests.ports import free_port
from worker.prefect_yaml import PROJECT

_GUIDE: Final = (PROJECT / "docs" / "operations" / "pgbouncer.md").read_text()
# As in a shell of root: Debian puts it where ordinary users do not look.
_PATH: Final = f"{os.environ['PATH']}:/usr/sbin"


class PgBouncer:
    """One that passes every database of a server on; `changed` are settings unlike the guide's."""

    def __init__(self, server: EmbeddedPostgres, folder: Path, changed: Mapping[str, str]) -> None:
        self._folder = folder
        self.port = free_port()
        (folder / "userlist.txt").write_text('"postgres" "a secret"\n')
        (folder / "pgbouncer.ini").write_text(self._file(server, changed))

    def set(self, name: str, value: str) -> None:
        """Set it up otherwise, from its next start on."""
        with (self._folder / "pgbouncer.ini").open("a") as file:
            file.write(f"{name} = {value}\n")

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database of the server."""
        return f"postgresql+psycopg://postgres:a%20secret@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = shutil.which("pgbouncer", path=_PATH)
        if command is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("PgBouncer is not installed")
        as_ordinary = ordinary_user.to_serve(self._folder, signal.SIGKILL)
        words = [*as_ordinary, command, str(self._folder / "pgbouncer.ini")]
        self._child = Child("PgBouncer", words, log=self._folder / "log")
        deadline = time.monotonic() + HANG_SECONDS
        while not self._answers():
            self._child.check_alive()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it and every connection through it."""
        self._child.stop()

    def _file(self, server: EmbeddedPostgres, changed: Mapping[str, str]) -> str:
        guide = re.search(r"```ini\n( *\[databases\].*?)```", _GUIDE, re.S)
        assert guide is not None
        text = re.sub(r"^ +", "", guide[1], flags=re.M)
        text = re.sub(r"^autoindex = host=\S+", f"* = host={server.socket_dir}", text, flags=re.M)
        ours = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "auth_file": str(self._folder / "userlist.txt"),
            "unix_socket_dir": "",
        }
        return text + "".join(f"{name} = {value}\n" for name, value in {**ours, **changed}.items())


@contextmanager
def pgbouncer(server: EmbeddedPostgres, folder: Path, **changed: str) -> Iterator[PgBouncer]:
    """Run one as an ordinary user, which it asks for."""
    made = PgBouncer(server, folder, changed)
    made.start()
    try:
        yield made
    finally:
        made.stop()
