"""What holds through a real PgBouncer, and how it is found out where it does not."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import trustme
from psycopg import AsyncConnection
from sqlalchemy import Engine, make_url, text

from autoindex.errors import ConfigurationError, DataBusy, PartUnavailable
from autoindex.settings import Settings
from autoindex.storage import migrate
from autoindex.storage.postgres import engines, listening, locks, pooler
from autoindex.storage.postgres.transient import UNAVAILABLE
from autoindex.storage.runs import fence
from autoindex.storage.schema_revision import REVISION
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.bounds import HANG_SECONDS
from tests.pgbouncer import PgBouncer, pgbouncer

pytestmark = pytest.mark.anyio

TASK = UUID(int=6)


def through(bouncer: PgBouncer, settings: Settings) -> Settings:
    name = str(make_url(settings.database()).database)
    return Settings(database_url=bouncer.url(name), data_dir=settings.data_dir)  # type: ignore[arg-type]


@pytest.fixture
def bouncer(server: EmbeddedPostgres, tmp_path: Path) -> Iterator[PgBouncer]:
    """One that is set up as the guide says."""
    with pgbouncer(server, tmp_path) as made:
        yield made


@pytest.fixture
def pooled(bouncer: PgBouncer, settings: Settings) -> Settings:
    """Settings of the test's database, by way of it."""
    return through(bouncer, settings)


@pytest.fixture
def pair(pooled: Settings) -> Iterator[list[Engine]]:
    """Two runs' connections."""
    made = [engines.run_engine(pooled, TASK) for _ in range(2)]
    yield made
    for one in made:
        one.dispose()


async def test_nothing_is_amiss_without_a_pooler(settings: Settings) -> None:
    await pooler.check(settings)


async def test_the_guides_set_up_holds(pooled: Settings) -> None:
    await pooler.check(pooled)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_the_other_modes_are_refused(
    server: EmbeddedPostgres, tmp_path: Path, settings: Settings, mode: str
) -> None:
    with (
        pgbouncer(server, tmp_path, pool_mode=mode) as other,
        pytest.raises(
            ConfigurationError, match=r"^settings, notifications, locks do not hold"
        ) as said,
    ):
        await pooler.check(through(other, settings))
    assert "set pool_mode = session" in str(said.value)
    assert "AUTOINDEX_DATABASE_URL" in str(said.value)
    assert "\n" not in str(said.value)


async def test_locks_that_outlive_their_connection_are_refused(
    server: EmbeddedPostgres, tmp_path: Path, settings: Settings
) -> None:
    with (
        pgbouncer(server, tmp_path, server_reset_query="select 1") as other,
        pytest.raises(ConfigurationError, match=r"^locks do not hold.*DISCARD ALL"),
    ):
        await pooler.check(through(other, settings))


@pytest.mark.parametrize("stalled", ["while it is told", "as it ends"])
async def test_a_session_that_is_stalled_for_a_while_is_not_taken_for_a_poolers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, stalled: str
) -> None:
    monkeypatch.setattr(pooler, "_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(pooler, "_WAIT", {"lock_timeout": "5000"})
    lost, execute = pooler._lost, AsyncConnection.execute

    async def watched(ours: AsyncConnection, other: AsyncConnection) -> list[str]:
        session, close = psutil.Process(ours.info.backend_pid), ours.close
        waits = count(1)

        async def executed(self: AsyncConnection, query: Any, *values: Any) -> Any:
            if stalled == "while it is told" and "notify" in str(query):
                session.suspend()
                asyncio.get_running_loop().call_later(3, session.resume)
            if self is other and "pg_advisory_lock" in str(query) and next(waits) == 2:
                session.resume()
            return await execute(self, query, *values)

        async def closed() -> None:
            if stalled == "as it ends":
                session.suspend()
            await close()

        monkeypatch.setattr(AsyncConnection, "execute", executed)
        monkeypatch.setattr(ours, "close", closed)
        try:
            return await lost(ours, other)
        finally:
            with suppress(psutil.NoSuchProcess):
                session.resume()

    monkeypatch.setattr(pooler, "_lost", watched)
    await pooler.check(settings)


async def test_too_few_connections_are_a_database_that_is_away(
    server: EmbeddedPostgres, tmp_path: Path, settings: Settings
) -> None:
    with (
        pgbouncer(server, tmp_path, default_pool_size="1", query_wait_timeout="1") as other,
        pytest.raises(PartUnavailable, match="query_wait_timeout"),
    ):
        await pooler.check(through(other, settings))


async def test_too_many_clients_are_told_so(
    server: EmbeddedPostgres, tmp_path: Path, settings: Settings
) -> None:
    with (
        pgbouncer(server, tmp_path, max_client_conn="1") as other,
        pytest.raises(PartUnavailable, match="no more connections allowed"),
    ):
        await pooler.check(through(other, settings))


async def test_it_shows_its_certificate(
    server: EmbeddedPostgres, tmp_path: Path, settings: Settings
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    key, certificate, known = (tmp_path / name for name in ("key", "crt", "ca"))
    shown = authority.issue_cert("localhost")
    shown.private_key_pem.write_to_path(key)
    shown.cert_chain_pems[0].write_to_path(certificate)
    authority.cert_pem.write_to_path(known)
    tls = {"client_tls_key_file": str(key), "client_tls_cert_file": str(certificate)}
    with pgbouncer(server, tmp_path, client_tls_sslmode="require", **tls) as secured:
        url = make_url(through(secured, settings).database()).set(host="localhost")
        asked = url.update_query_dict({"sslmode": "verify-full", "sslrootcert": str(known)})
        there = Settings(database_url=asked.render_as_string(hide_password=False))  # type: ignore[arg-type]
        await pooler.check(there)
        stranger.cert_pem.write_to_path(known)
        with pytest.raises(PartUnavailable, match="certificate verify failed"):
            await pooler.check(there)


def test_a_runs_settings_hold_and_nobody_inherits_them(
    pooled: Settings, pair: list[Engine]
) -> None:
    asked = text(
        "select current_setting('idle_in_transaction_session_timeout'),"
        " current_setting('client_connection_check_interval'), current_setting('timezone'),"
        " current_setting('application_name'), pg_backend_pid()"
    )
    with pair[0].connect() as connection:
        *shown, session = connection.execute(asked).one()
        assert shown == ["1min", "2s", "UTC", engines.run_name(TASK)]
    pair[0].dispose()
    other = engines.engine(pooled)
    with other.connect() as connection:
        *shown, same = connection.execute(asked).one()
    other.dispose()
    assert (shown, same) == (["0", "0", "UTC", "autoindex"], session)


def test_two_runs_take_turns(pair: list[Engine]) -> None:
    with (
        locks.exclusive(pair[0], "work"),
        pytest.raises(DataBusy),
        locks.exclusive(pair[1], "work", patience=0),
    ):
        pass
    with locks.exclusive(pair[1], "work", patience=0):
        pass


def test_statements_are_prepared_once_and_for_all(pair: list[Engine]) -> None:
    for engine in pair:
        for _ in range(2):
            with engine.connect() as connection:
                for number in range(8):
                    assert (
                        connection.scalar(text("select cast(:n as int)"), {"n": number}) == number
                    )
            engine.dispose()


async def test_who_listens_is_told(pooled: Settings, pair: list[Engine]) -> None:
    heard = listening.notifications(pooled, "pooled")
    assert await anext(heard) is None
    with pair[0].begin() as connection:
        connection.execute(text("notify pooled, 'through it'"))
    assert await anext(heard) == "through it"
    await heard.aclose()


def test_a_former_attempt_is_evicted(pair: list[Engine]) -> None:
    with pair[0].connect() as left:
        left.execute(text("select 1"))
        with pair[1].begin() as connection:
            connection.execute(text("set application_name = 'another'"))
            assert fence.evict(connection, TASK) == 1
        with pytest.raises(UNAVAILABLE):
            left.execute(text("select 1"))


def test_a_transaction_that_was_left_open_too_long_is_away(pair: list[Engine]) -> None:
    with pair[0].connect() as connection:
        connection.execute(text("set local idle_in_transaction_session_timeout = 1"))
        time.sleep(0.2)
        with pytest.raises(UNAVAILABLE):
            connection.execute(text("select 1"))


def test_a_restart_is_an_outage(bouncer: PgBouncer, pair: list[Engine]) -> None:
    with pair[0].connect() as connection:
        connection.execute(text("select 1"))
        bouncer.stop()
        with pytest.raises(UNAVAILABLE):
            connection.execute(text("select 1"))
    with pytest.raises(UNAVAILABLE):
        pair[0].connect()
    bouncer.start()
    with pair[0].connect() as connection:
        connection.execute(text("select 1"))


def test_a_database_is_migrated_through_it(server: EmbeddedPostgres, bouncer: PgBouncer) -> None:
    name = f"migrated_through_{bouncer.port}"
    migrate.create_database(server.url(name))
    assert migrate.create_database(bouncer.url(name)) is False
    assert migrate.upgrade(bouncer.url(name)) == f"revision {REVISION}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
