"""The worker's hold on the database, when connections to it vanish without a word."""

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, make_url, text

from autoindex.settings import Settings
from autoindex.storage.postgres import engines, pooler
from autoindex.storage.schema_revision import REVISION
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.bounds import HANG_SECONDS
from tests.pgbouncer import pgbouncer
from tests.relay import Relay, to_database
from worker.lease_manager import LeaseManager
from worker.outages import Outages

pytestmark = pytest.mark.anyio

TASK = UUID(int=3)
# Whose third is as long as a busy machine takes for an answer, or little.
LONG, SHORT = timedelta(seconds=3 * HANG_SECONDS), timedelta(seconds=3)


@pytest.fixture
async def cabled(settings: Settings) -> AsyncIterator[tuple[LeaseManager, Relay]]:
    """A lease manager, and its cable to the database."""
    relay, there = to_database(settings.database())
    far = settings.model_copy(update={"database_url": SecretStr(there)})
    engine = engines.async_engine(far, "autoindex-worker")
    with relay:
        yield LeaseManager(engine, "afar", LONG, Outages(), lambda: pooler.check(far)), relay
    await engine.dispose()


async def test_a_connection_that_is_forgotten_costs_a_part_of_a_lease_at_most(
    cabled: tuple[LeaseManager, Relay], caplog: pytest.LogCaptureFixture
) -> None:
    lease_manager, relay = cabled
    log = logging.getLogger("prefect.workers.autoindex")
    with caplog.at_level(logging.WARNING, log.name):
        log.addHandler(caplog.handler)  # where Prefect's own set-up keeps its lines to itself
        await lease_manager.renew_once()
        assert lease_manager.trouble is None
        assert await lease_manager.take(TASK) is not None
        relay.forget()
        relay.cut()  # new connections come to nothing, too
        lease_manager.lifetime = SHORT
        for _ in range(2):
            await lease_manager.renew_once()
            assert lease_manager.trouble == "the database can't be used: no answer within 1 s"
            assert lease_manager.reachable_since is None
        relay.heal()
        lease_manager.lifetime = LONG
        await lease_manager.renew_once()
        assert lease_manager.trouble is None
        log.removeHandler(caplog.handler)
    said = dict.fromkeys(one.getMessage() for one in caplog.records if one.name == log.name)
    assert list(said) == [
        "no run is claimed: the database can't be used: no answer within 1 s",
        "the database can be used again: runs are claimed",
    ]


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ("0000", f"and this version needs {REVISION}: run its `autoindex migrate`"),
        ("9999", f"and this version knows them up to {REVISION}: start the newer version here"),
    ],
)
async def test_a_worker_of_another_version_than_the_tables_claims_nothing(
    settings: Settings, engine: Engine, stored: str, sentence: str
) -> None:
    """It keeps the leases of what it runs, and claims again once the tables are its own."""
    made = engines.async_engine(settings, "autoindex-worker")
    outages = Outages()
    lease_manager = LeaseManager(made, "one", LONG, outages, lambda: pooler.check(settings))
    await lease_manager.renew_once()
    lease = await lease_manager.take(TASK)
    assert lease is not None
    lease_manager.keep(lease, _unexpected)
    change = text("update alembic_version set version_num = :revision")
    expires = text("select expires_at from leases where task_id = :task")
    with engine.begin() as connection:
        connection.execute(change, {"revision": stored})
        before = connection.execute(expires, {"task": TASK}).scalar_one()
    await lease_manager.renew_once()
    found = f"the database's tables are at revision {stored}, {sentence}"
    assert (lease_manager.trouble, outages.seconds) == (found, 0)
    with engine.begin() as connection:
        assert connection.execute(expires, {"task": TASK}).scalar_one() > before
        connection.execute(change, {"revision": REVISION})
    await lease_manager.renew_once()
    assert lease_manager.trouble is None
    await made.dispose()


async def _unexpected() -> None:
    raise AssertionError("the lease is lost")


async def test_a_database_that_takes_no_writes_can_be_used_once_it_does_again(
    settings: Settings, engine: Engine
) -> None:
    made = engines.async_engine(settings, "autoindex-worker")
    lease_manager = LeaseManager(made, "one", LONG, Outages(), lambda: pooler.check(settings))
    await lease_manager.renew_once()
    name = make_url(settings.database()).database
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        admin.execute(text(f"alter database {name} set default_transaction_read_only = on"))
        async with made.connect() as one:
            # As a reload of the server's settings does to the connections that there are.
            await one.execute(text("set default_transaction_read_only = on"))
            await one.commit()
        for reason in ("read-only transaction", "session is read-only"):
            await lease_manager.renew_once()
            assert reason in str(lease_manager.trouble)
        admin.execute(text(f"alter database {name} reset default_transaction_read_only"))
    await lease_manager.renew_once()
    assert lease_manager.trouble is None
    await made.dispose()


async def test_a_pooler_that_keeps_no_session_is_found_out_whenever_it_comes(
    server: EmbeddedPostgres, tmp_path: Path, settings: Settings
) -> None:
    with pgbouncer(server, tmp_path) as good:
        url = good.url(str(make_url(settings.database()).database))
        through = settings.model_copy(update={"database_url": SecretStr(url)})
        engine = engines.async_engine(through, "autoindex-worker")
        lease_manager = LeaseManager(
            engine, "pooled", LONG, Outages(), lambda: pooler.check(through)
        )
        await lease_manager.renew_once()
        assert lease_manager.trouble is None
        good.stop()
        await lease_manager.renew_once()
        assert lease_manager.trouble is not None
        good.set("pool_mode", "transaction")
        good.start()
        await lease_manager.renew_once()
        assert "locks do not hold" in str(lease_manager.trouble)
        assert lease_manager.reachable_since is None
        good.stop()
        good.set("pool_mode", "session")
        good.start()
        await lease_manager.renew_once()  # the old connection is gone
        await lease_manager.renew_once()
        assert lease_manager.trouble is None
        await engine.dispose()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
