"""What a connection relies on holds whatever the role, the database or an operator has set."""

import asyncio
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

import numpy as np
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import OperationalError

from autoindex.settings import Settings
from autoindex.storage import migrate, versions
from autoindex.storage.postgres import binary_copy, connecting, engines, listening
from autoindex.storage.postgres.transient import UNAVAILABLE
from autoindex.storage.schema_revision import REVISION
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.relay import to_database

TASK = UUID(int=5)
# Each of them has broken something: times of another zone, values that psycopg refuses to read,
# tables that are not found, statements and connections that end in the middle.
UNUSUAL = {
    "timezone": "Asia/Tokyo",
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "client_encoding": "LATIN1",
    "search_path": "elsewhere",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "idle_session_timeout": "1s",
    "transaction_timeout": "1s",
}
_numbers = count(1)


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """An administrator of the server."""
    with psycopg.connect(
        host=str(server.socket_dir), user="postgres", autocommit=True
    ) as connection:
        yield connection


@pytest.fixture
def role(admin: psycopg.Connection) -> str:
    """A role of ours that is nobody in particular."""
    name = f"ordinary_{next(_numbers)}"
    admin.execute(f"create role {name} login")
    return name


def _known(connection: psycopg.Connection) -> dict[str, str]:
    """What this version of PostgreSQL has of them."""
    names = {name for (name,) in connection.execute("select name from pg_settings")}
    return {name: value for name, value in UNUSUAL.items() if name in names}


@pytest.fixture
def unusual(admin: psycopg.Connection, role: str, settings: Settings) -> Settings:
    """Settings of a database whose owner has everything set otherwise."""
    url = make_url(settings.database())
    admin.execute(f"alter database {url.database} owner to {role}")
    admin.execute(f"grant all on schema public to {role}")
    for name, value in _known(admin).items():
        admin.execute(f"alter role {role} set {name} = '{value}'")
    theirs = url.set(username=role).render_as_string(hide_password=False)
    with psycopg.connect(
        host=str(url.query["host"]), user="postgres", dbname=url.database, autocommit=True
    ) as own:
        own.execute(f"grant all on all tables in schema public to {role}")
    return Settings(database_url=theirs, data_dir=settings.data_dir)  # type: ignore[arg-type]


def test_a_role_that_is_set_otherwise_changes_nothing(unusual: Settings) -> None:
    made = engines.run_engine(unusual, TASK)
    with made.begin() as connection:
        versions.bump(connection, "ünusual")
        connection.execute(text("select pg_sleep(1.5)"))  # longer than the role allows
    with made.connect() as connection:
        stamp = versions.stamp(connection, "ünusual")
        read = connection.execute(
            text(
                "select name, '\\x00ff'::bytea, 0.1::float8 + 0.2, '3 days'::interval::text, '\\'"
                " from data_versions"
            )
        ).one()
        name = connection.execute(text("show application_name")).scalar_one()
    made.dispose()
    assert stamp.changed_at is not None
    assert stamp.changed_at.utcoffset() == datetime.now(UTC).utcoffset()
    assert tuple(read) == ("ünusual", b"\x00\xff", 0.1 + 0.2, "3 days", "\\")
    assert name == engines.run_name(TASK)


@pytest.mark.anyio
async def test_nor_does_it_for_the_facade_and_who_listens(unusual: Settings) -> None:
    made = engines.async_engine(unusual, "autoindex-api")
    async with made.connect() as connection:
        shown = text("select current_setting(:name)")
        zone = await connection.scalar(shown, {"name": "timezone"})
        limit = await connection.scalar(shown, {"name": "statement_timeout"})
        name = await connection.scalar(shown, {"name": "application_name"})
    heard = listening.notifications(unusual, "unusual")
    assert await anext(heard) is None
    await asyncio.sleep(1.5)  # longer than the role's connections may be idle
    async with made.begin() as connection:
        await connection.execute(text("notify unusual, 'still there'"))
    assert await anext(heard) == "still there"
    await heard.aclose()
    await made.dispose()
    assert (zone, limit, name) == ("UTC", "4s", "autoindex-api")


def silence(handle: int) -> dict[str, int]:
    """How long the system waits for a peer that says nothing more."""
    with socket.fromfd(handle, socket.AF_INET, socket.SOCK_STREAM) as shared:
        assert shared.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        return {
            name: shared.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names
        }


@pytest.mark.anyio
async def test_a_peer_that_is_gone_without_a_word_is_found_out_on_every_connection(
    settings: Settings,
) -> None:
    relay, there = to_database(settings.database())
    far = settings.model_copy(update={"database_url": SecretStr(there)})
    short = {
        "TCP_KEEPIDLE": 10,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 20_000,
    }
    with relay:
        for made in (engines.engine(far), engines.run_engine(far, TASK)):
            with made.connect() as connection:
                assert silence(connection.connection.driver_connection.fileno()) == short  # type: ignore[union-attr]
                # The server, too, finds out a client that is gone.
                shown = text("select name from pg_settings where source = 'session'")
                told = set(connection.scalars(shown))
                assert told >= {f"tcp_keepalives_{of}" for of in ("idle", "interval", "count")}
            made.dispose()
        facades = engines.async_engine(far, "autoindex-api")
        async with facades.connect() as one:
            raw = await one.get_raw_connection()
            assert silence(raw.driver_connection.fileno()) == short  # type: ignore[union-attr]
        await facades.dispose()
        async with connecting.connected(there, "listener") as listener:
            assert silence(listener.fileno()) == short


def test_migrations_run_for_such_a_role(
    admin: psycopg.Connection, role: str, unusual: Settings
) -> None:
    name = f"made_by_{role}"
    admin.execute(f"create database {name} owner {role}")
    url = make_url(unusual.database()).set(database=name).render_as_string(hide_password=False)
    assert migrate.upgrade(url) == f"revision {REVISION}"
    with psycopg.connect(
        host=str(make_url(url).query["host"]), user="postgres", dbname=name
    ) as connection:
        connection.execute("select from public.data_versions")


def test_our_database_is_enough_where_it_is_there(
    admin: psycopg.Connection, role: str, settings: Settings
) -> None:
    url = make_url(settings.database())
    ours = url.set(username=role).render_as_string(hide_password=False)
    admin.execute("revoke connect on database postgres from public")
    try:
        assert migrate.create_database(ours) is False
        absent = url.set(username=role, database="absent").render_as_string(hide_password=False)
        with pytest.raises(OperationalError, match="permission denied"):
            migrate.create_database(absent)
    finally:
        admin.execute("grant connect on database postgres to public")


def take_no_writes(admin: psycopg.Connection, settings: Settings, value: str) -> None:
    name = make_url(settings.database()).database
    admin.execute(f"alter database {name} set default_transaction_read_only = {value}")


def bump(engine: Engine) -> None:
    with engine.begin() as connection:
        versions.bump(connection, "written")


def test_a_server_that_takes_no_writes_is_away_until_it_does(
    admin: psycopg.Connection, settings: Settings
) -> None:
    made = engines.run_engine(settings, TASK)
    with made.connect() as first, made.connect() as second:
        for one in (first, second):
            # As a reload of the server's settings does to the connections that there are.
            one.execute(text("set default_transaction_read_only = on"))
            one.commit()
    with pytest.raises(OperationalError, match="read-only transaction"):
        bump(made)
    bump(made)  # on a new connection: the other old one was given up, too
    take_no_writes(admin, settings, "on")
    made.dispose()
    with pytest.raises(OperationalError, match="session is read-only"):
        bump(made)
    take_no_writes(admin, settings, "off")
    bump(made)
    made.dispose()


def test_copy_meets_it_the_same_way(settings: Settings) -> None:
    made = engines.run_engine(settings, TASK)
    with made.connect() as connection:
        connection.execute(text("set transaction read only"))
        with pytest.raises(OperationalError):
            binary_copy.load(connection, "credit_ledger", {"used": np.array([1])})
        assert connection.invalidated
    made.dispose()


def test_a_transaction_that_was_left_open_too_long_is_away_too(
    admin: psycopg.Connection, settings: Settings
) -> None:
    made = engines.engine(settings)
    with made.connect() as connection:
        backend = connection.execute(text("select pg_backend_pid()")).scalar_one()
        connection.execute(text("set local idle_in_transaction_session_timeout = 1"))
        while admin.execute("select from pg_stat_activity where pid = %s", (backend,)).fetchone():
            time.sleep(0.01)
        with pytest.raises(UNAVAILABLE):
            connection.execute(text("select 1"))
    made.dispose()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
