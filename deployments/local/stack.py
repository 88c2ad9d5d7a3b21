"""The local stack: every part is a child process, started in order, once the last is healthy."""

import os
import pwd
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from typing import Final

import httpx
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from autoindex import masking
from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from deployments import bootstrap
from deployments.alerts import alerting
from deployments.commands import universe_command
from deployments.local import data_folder, environment, local_secret, ports
from deployments.local.child import STOP_SECONDS, Child, ChildFailed
from deployments.local.console import Progress, Step
from deployments.local.embedded_postgres import EmbeddedPostgres
from worker import POOL
from worker.autoindex_worker import AutoindexWorker
from worker.prefect_yaml import PROJECT

# An instant after the last close in the sandbox's prices.
SANDBOX_CLOCK: Final = datetime(2022, 12, 28, 22, 0, tzinfo=UTC)
# A part that ends is named at once; one that runs and says nothing for so long hangs.
_READY_SECONDS: Final = 600.0
_DRAIN_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
_BROKEN_STOP_SECONDS: Final = 3.0


class Stack:
    """The running parts, their addresses, and the environment of their processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.prefect_login = local_secret.ensure_prefect_login(settings.data_dir)
        masking.hide((value for _, value in settings), self.prefect_login)
        self.env = _environment(settings) | {"PREFECT_API_AUTH_STRING": self.prefect_login}
        self.children: list[Child] = []
        self._database: EmbeddedPostgres | None = None

    @property
    def api_url(self) -> str:
        """Where the facade answers."""
        return self.settings.own_url

    @property
    def prefect_url(self) -> str:
        """Where the Prefect UI is."""
        return f"http://127.0.0.1:{self.settings.prefect_port}"

    def check_alive(self) -> None:
        """Raise `ChildFailed` if a part has ended by itself."""
        for child in self._everything():
            child.check_alive()

    @property
    def is_whole(self) -> bool:
        """Whether no part has ended by itself."""
        return all(child.is_running for child in self._everything())

    def _everything(self) -> list[Child]:
        return [*([] if self._database is None else [self._database.child]), *self.children]

    def start_database(self) -> None:
        """Start the embedded PostgreSQL; it is stopped by the caller, after all others."""
        folder = self.settings.data_dir
        server = EmbeddedPostgres(
            folder / "postgres", self.settings.socket_dir, folder / "logs" / "postgresql.log"
        )
        server.start()
        self._database = server

    def stop_database(self) -> None:
        """Stop it; its data stay."""
        if self._database is not None:
            self._database.stop()
            self._database = None

    def start(self, name: str, *arguments: str, **changed: str) -> Child:
        """Start `python -m ...` as a part of the stack, with variables of its own if need be."""
        slug = name.lower().replace(" ", "-")
        child = Child(
            name,
            [sys.executable, "-m", *arguments],
            log=self.settings.data_dir / "logs" / f"{slug}.log",
            env=self.env | changed,
            cwd=PROJECT,
        )
        self.children.append(child)
        return child

    def wait(self, url: str, step: Step) -> None:
        """Wait until `url` answers 200, showing what it says meanwhile."""
        deadline = time.monotonic() + _READY_SECONDS
        with httpx.Client(timeout=5, trust_env=False) as http:
            while True:
                self.check_alive()
                if (state := _state(http, url)) is None:
                    return
                if time.monotonic() > deadline:
                    raise ChildFailed(
                        f"{url} did not become ready in {_READY_SECONDS:.0f} s: {state}"
                    )
                step.update(f"{url}: {state}")
                time.sleep(_POLL_SECONDS)


def _state(http: httpx.Client, url: str) -> str | None:
    """What a part says of itself; None where it is ready."""
    try:
        answer = http.get(url)
    except httpx.TransportError:
        return "not listening yet"
    return None if answer.is_success else answer.text[:120]


@contextmanager
def running(settings: Settings, progress: Progress) -> Iterator[Stack]:
    """Start every part, hand over once all are ready, stop them in reverse order.

    Raises `ConfigurationError` before anything is started when the data folder is in use or cannot
    be written to, a port is taken, or the folder holds prices from another source; `ChildFailed`
    when a part fails.
    """
    data_folder.check(settings.data_dir)
    _check_user(settings)
    settings = _local(settings)
    ports.check(settings)
    with ExitStack() as parts:
        parts.enter_context(_claimed(settings))
        stack = Stack(settings)
        if settings.embedded:
            with progress.step("PostgreSQL"):
                stack.start_database()
                parts.callback(stack.stop_database)
        parts.callback(_stop, stack, progress)
        with _named(stack), temporary_settings({PREFECT_API_AUTH_STRING: stack.prefect_login}):
            _start(stack, progress)
        yield stack


@contextmanager
def _named(stack: Stack) -> Iterator[None]:
    """Name the part that has ended, if that is why a request failed."""
    try:
        yield
    except ConfigurationError:
        stack.check_alive()
        raise
    except (httpx.HTTPError, SQLAlchemyError) as error:
        stack.check_alive()
        raise ChildFailed(f"the stack did not start: {error}") from error


def _start(stack: Stack, progress: Progress) -> None:
    settings = stack.settings
    with progress.step("Database", "migrations") as step:
        bootstrap.create_prefect_database(settings)
        _start_servers(stack)
        step.done(bootstrap.prepare_database(settings))
        if settings.sandbox:
            universe_command.import_sandbox(settings)
        stack.start("Facade", "api")
    with progress.step("Prefect server", "its own migrations") as step:
        stack.wait(f"{stack.prefect_url}/api/health", step)
        step.done(stack.prefect_url)
    with progress.step("Deployments", "work pool and queues") as step:
        api = stack.env["PREFECT_API_URL"]
        bootstrap.note(settings, api)
        bootstrap.register_pool(api, bootstrap.owner(settings))
        notices = alerting.apply(settings, api)
        # Without its type it would ask Prefect, and end where that is away.
        chosen = ("--pool", POOL, "--type", AutoindexWorker.type)
        stack.start("Worker", "prefect", "worker", "start", *chosen)
        step.update("`prefect deploy --all`")
        deployed = bootstrap.deploy(stack.env, api)
        alerting.arm(api, again=notices.changed)
        step.done(deployed)
    with progress.step("Worker and facade", "a worker online") as step:
        stack.wait(f"{stack.api_url}/ready", step)
        step.done(stack.api_url)


def _start_servers(stack: Stack) -> None:
    port = str(stack.settings.prefect_port)
    command = ("prefect", "server", "start", "--host=127.0.0.1", "--port", port)
    stack.start("Prefect server", *command, PREFECT_SERVER_API_AUTH_STRING=stack.prefect_login)
    if stack.settings.sandbox:
        port = str(stack.settings.sandbox_port)
        stack.start("Sandbox", "sandbox", "--port", port)


def _stop(stack: Stack, progress: Progress) -> None:
    # Parts that wait for one that has ended would not stop.
    seconds = STOP_SECONDS if stack.is_whole else _BROKEN_STOP_SECONDS
    with progress.step("Stopping") as step:
        for child in reversed(stack.children):
            step.update(child.name)
            child.stop(seconds)


def _local(settings: Settings) -> Settings:
    """The settings with what a local stack makes itself: its secret and its source of prices."""
    # Ctrl-C waits for the drain; runs that are handed back continue at the next start.
    drain_seconds = min(settings.drain_seconds, _DRAIN_SECONDS)
    made: dict[str, object] = {"api_docs": True, "drain_seconds": drain_seconds}
    if settings.jwt_secret is None and settings.jwt_jwks_url is None:
        made["jwt_secret"] = SecretStr(local_secret.ensure(settings.data_dir))
    if settings.sandbox:
        made["clock"] = settings.clock or SANDBOX_CLOCK
        made["twelve_data_base_url"] = f"http://127.0.0.1:{settings.sandbox_port}"
    return settings.model_copy(update=made)


def _environment(settings: Settings) -> dict[str, str]:
    """The environment of the parts: this stack's settings only, whatever the shell has set."""
    # Prefect's worker keeps a folder in /tmp whose name is the same for all users.
    settings.temporary_dir.mkdir(parents=True, exist_ok=True)
    ours = settings.environment() | {"TMPDIR": str(settings.temporary_dir)}
    return environment.inherited(settings) | ours | _prefect_environment(settings)


def _prefect_environment(settings: Settings) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(settings.data_dir / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{settings.prefect_port}/api",
        "PREFECT_UI_URL": f"http://127.0.0.1:{settings.prefect_port}",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": bootstrap.prefect_database(settings),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": _prefect_ui(settings.prefect_port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect copies its UI there: by default beside its code, where only one user can write.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(settings.data_dir / "prefect" / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        # A run is not late after 15 seconds, the default: all slots may be taken.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "300",
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        # A restart takes longer than the default of five retries.
        "PREFECT_CLIENT_MAX_RETRIES": "8",
        "DO_NOT_TRACK": "1",
        # One BLAS thread: the same input gives the same numbers, bit for bit.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": str(settings.data_dir / "matplotlib"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }


def _prefect_ui(port: int) -> str:
    """The origins of its own UI; by default Prefect answers every origin."""
    return ",".join(f"http://{host}:{port}" for host in ("127.0.0.1", "localhost"))


def _check_user(settings: Settings) -> None:
    """Raise `ConfigurationError` if a database is to be created by a user without a name."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        if settings.embedded and not (settings.data_dir / "postgres").exists():
            raise ConfigurationError(
                f"PostgreSQL needs a user with a name, and {os.geteuid()} has none here: "
                "give it a line in /etc/passwd, or set AUTOINDEX_DATABASE_URL"
            ) from None


@contextmanager
def _claimed(settings: Settings) -> Iterator[None]:
    """Hold the data folder for this stack alone, and for one source of prices."""
    with (settings.data_dir / data_folder.LOCK).open("a+") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ConfigurationError(
                f"{settings.data_dir} is in use by another stack (process {lock.read()}): "
                "stop it, or set AUTOINDEX_DATA_DIR to another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        _check_source(settings)
        yield


def _check_source(settings: Settings) -> None:
    # Prices of two sources in one table could not be separated later.
    source = "the sandbox" if settings.sandbox else "Twelve Data"
    marker = settings.data_dir / "source"
    if not marker.exists():
        marker.write_text(source)
    elif marker.read_text() != source:
        raise ConfigurationError(
            f"{settings.data_dir} holds prices from {marker.read_text()}, not from {source}: "
            "set AUTOINDEX_DATA_DIR to another folder"
        )
