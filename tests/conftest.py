"""Real parts for every test: PostgreSQL embedded, one fresh database a test."""

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import hypothesis
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from autoindex.settings import Settings
from autoindex.storage import migrate
from deployments.local import environment
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.shared_servers import stop_unused, until_unused

# Whatever is imported stays: looking for garbage among it takes half of the time of collecting.
gc.disable()
# Everywhere as on a server for tests: the same examples each time, which may take their time.
hypothesis.settings.load_profile("ci")

_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests run on another PostgreSQL than the wheel's."""
    explained = "folder of the programs of the PostgreSQL to test with"
    parser.addoption("--postgres", type=Path, metavar="FOLDER", help=explained)


def pytest_configure(config: pytest.Config) -> None:
    """Keep out of the tests what the developer's shell is set to, and how it has started them."""
    if not hasattr(config, "workerinput"):  # one home for all of xdist's processes
        # Prefect's profiles, and a home where nothing may be written, are none of the tests'.
        home = TemporaryDirectory(prefix="autoindex-home-")
        config.add_cleanup(home.cleanup)
        os.environ["HOME"] = home.name
    for name in list(os.environ):
        if name.startswith("AUTOINDEX_"):
            del os.environ[name]
    for name in os.environ.keys() - environment.inherited(Settings()).keys():
        del os.environ[name]
    os.environ["DO_NOT_TRACK"] = "1"
    # What a script starts in its background ignores SIGINT, and what nohup starts SIGHUP; so does
    # everything that this process starts.
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(signum) is signal.SIG_IGN:
            default = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            signal.signal(signum, default)


# Before xdist reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers, run what shares one in the same process, and begin with it."""
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
        if group or "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.server)
    order = (*_GROUPS.values(), None)
    items.sort(key=lambda item: order.index(_group(item)))


def pytest_collection_finish() -> None:
    """Have what is collected left alone, and look for garbage as ever."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Generator[None]:
    """Stop the servers that were shared with this test and are with no other."""
    try:
        yield
    finally:
        stop_unused(_used(nextitem))


# What takes longest comes first. The yard has a Prefect server of its own: alone, its tests take
# as long as all others that share one.
_GROUPS: Final = {
    "stack": "stack",
    "one_yard": "yard",
    "prefect_api": "prefect",
    "prefect_url": "facade",
}


def _group(item: pytest.Item) -> str | None:
    if marked := item.get_closest_marker("xdist_group"):
        return str(marked.args[0])
    used = getattr(item, "fixturenames", ())
    return next((group for fixture, group in _GROUPS.items() if fixture in used), None)


def _used(item: pytest.Item | None) -> set[str]:
    """The fixtures of a test; one that only names its group asks for that group's while it runs."""
    if item is None:
        return set()
    of_its_group = {fixture for fixture, group in _GROUPS.items() if group == _group(item)}
    return of_its_group | set(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def memory_folder() -> Iterator[Path]:
    """A folder in memory, where there is room: a database there is made and dropped in no time."""
    memory = Path("/dev/shm")  # noqa: S108 - below it is a folder that is ours alone
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    chosen = memory if has_room else None
    with TemporaryDirectory(prefix="autoindex-tests-", dir=chosen) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def server(memory_folder: Path, pytestconfig: pytest.Config) -> Iterator[EmbeddedPostgres]:
    """An embedded PostgreSQL with a migrated template database."""
    programs = pytestconfig.getoption("postgres")
    folders = memory_folder / "pg", memory_folder / "run"
    with EmbeddedPostgres(*folders, programs=programs) as running:
        _forgo_durability(running)
        migrate.create_database(running.url("template_autoindex"))
        migrate.upgrade(running.url("template_autoindex"))
        yield running


def _forgo_durability(server: EmbeddedPostgres) -> None:
    # No test outlives its machine.
    changed = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "'256MB'"}
    admin = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for setting, value in changed.items():
            connection.execute(text(f"alter system set {setting} = {value}"))
        connection.execute(text("select pg_reload_conf()"))
    admin.dispose()


@contextmanager
def _fresh_database(server: EmbeddedPostgres) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    admin = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        made = f"create database {name} template template_autoindex strategy file_copy"
        connection.execute(text(made))
    yield server.url(name)
    with admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture
def database_url(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database with all tables, empty, for one test."""
    with _fresh_database(server) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(server: EmbeddedPostgres) -> Iterator[str]:
    """The same for all tests of a file."""
    with _fresh_database(server) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connections to the test's own database."""
    made = create_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings for the test's own database and folder."""
    return Settings(database_url=database_url, data_dir=tmp_path / "var")  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def prefect_api(
    tmp_path_factory: pytest.TempPathFactory, server: EmbeddedPostgres
) -> Iterator[str]:
    """A real Prefect server with our work pool, which this process's Prefect clients use too."""
    from tests.prefect_server import QUICK

    with until_unused("prefect_api") as parts:
        folder = tmp_path_factory.mktemp("prefect")
        yield parts.enter_context(_prefect(folder, server, "prefect_quick", QUICK))


@pytest.fixture(scope="session")
def lean_prefect_api(
    tmp_path_factory: pytest.TempPathFactory, server: EmbeddedPostgres
) -> Iterator[str]:
    """One without the services that only schedules, notices and subtasks need."""
    from tests.prefect_server import LEAN

    with until_unused("lean_prefect_api") as parts:
        folder = tmp_path_factory.mktemp("prefect")
        yield parts.enter_context(_prefect(folder, server, "prefect_lean", LEAN))


@contextmanager
def _prefect(
    folder: Path, server: EmbeddedPostgres, name: str, changed: Mapping[str, str]
) -> Iterator[str]:
    # Not above: most tests do without Prefect, which takes seconds to import.
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from deployments import bootstrap
    from tests.prefect_server import prefect_server

    migrate.create_database(server.url(name))
    url = make_url(server.url(name)).set(drivername="postgresql+asyncpg")
    with (
        prefect_server(folder, url.render_as_string(hide_password=False), changed) as running,
        temporary_settings({PREFECT_API_URL: running}),
    ):
        bootstrap.register_pool(running)
        yield running
        # What is still to be sent would be tried for a minute when the process ends.
        APILogHandler().flush()
