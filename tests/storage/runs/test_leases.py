"""A running task has one holder; whoever has lost it can write nothing more."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from autoindex.errors import LeaseLost
from autoindex.settings import Settings
from autoindex.storage.postgres import engines
from autoindex.storage.runs import fence, leases
from autoindex.storage.runs.leases import Lease

TASK = UUID(int=7)
LONG, OVER = timedelta(minutes=1), timedelta(seconds=-1)


def take(engine: Engine, holder: str, lifetime: timedelta = LONG) -> Lease | None:
    with engine.begin() as connection:
        return leases.take(connection, TASK, holder, lifetime)


def taken(engine: Engine, holder: str, lifetime: timedelta = LONG) -> Lease:
    lease = take(engine, holder, lifetime)
    assert lease is not None
    return lease


def test_a_good_lease_keeps_others_out_until_it_is_given_back(engine: Engine) -> None:
    mine = taken(engine, "a")
    assert mine == Lease(TASK, 1, "a", 0)
    assert take(engine, "b") is None
    with engine.begin() as connection:
        assert leases.give_back(connection, mine, died=True)
    assert taken(engine, "b") == Lease(TASK, 2, "b", 1)
    with engine.begin() as connection:
        assert not leases.give_back(connection, mine)
        assert not leases.end(connection, mine)


def test_renewing_lengthens_what_is_still_held_and_names_what_is_lost(engine: Engine) -> None:
    mine = taken(engine, "a", OVER)
    with engine.begin() as connection:
        assert leases.renew(connection, {TASK: mine.token}, LONG) == frozenset()
        assert leases.expired(connection) == []
        assert leases.renew(connection, {TASK: 9, UUID(int=8): 1}, LONG) == {TASK, UUID(int=8)}
        assert leases.renew(connection, {}, LONG) == frozenset()


def test_an_expired_lease_is_seized_once(engine: Engine) -> None:
    taken(engine, "a", OVER)
    with engine.begin() as connection:
        (lost,) = leases.expired(connection)
        seized = leases.seize(connection, lost, "b", LONG)
        assert seized == Lease(TASK, 2, "b", 0)
        assert leases.seize(connection, lost, "c", LONG) is None
        assert leases.held(connection, [TASK, UUID(int=8)]) == {TASK}


@pytest.mark.anyio
async def test_a_holder_that_is_paused_while_it_renews_loses_its_lease(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_ASYNC_IDLE_MILLISECONDS", "2000")
    mine = taken(engine, "a", OVER)
    workers = engines.async_engine(settings, "autoindex-worker")

    def seize() -> Lease | None:
        with engine.begin() as other:
            other.execute(text("set local lock_timeout = '300s'"))
            return leases.seize(other, mine, "b", LONG)

    async with workers.connect() as paused:
        await paused.run_sync(leases.renew, {TASK: mine.token}, LONG)
        assert await asyncio.to_thread(seize) == Lease(TASK, 2, "b", 0)
        with pytest.raises(DBAPIError, match="idle-in-transaction"):
            await paused.commit()
    await workers.dispose()


def test_an_ended_task_is_held_by_nobody_and_its_tokens_are_used_up(engine: Engine) -> None:
    mine = taken(engine, "a")
    assert mine is not None
    assert mine.is_first
    with engine.begin() as connection:
        assert leases.end(connection, mine)
        assert leases.held(connection, [TASK]) == frozenset()
        assert leases.expired(connection) == []
        with pytest.raises(LeaseLost):
            fence.check(connection, TASK, mine.token)
    waiting = taken(engine, "a")
    assert waiting is not None
    assert waiting.token > mine.token
    assert not waiting.is_first
    with engine.begin() as connection:
        leases.give_back(connection, waiting)
        assert leases.forget_idle(connection, timedelta(days=1)) == 0
        assert leases.forget_idle(connection, OVER) == 1


def test_a_former_holder_commits_nothing(database_url: str, engine: Engine) -> None:
    mine = taken(engine, "a", OVER)
    guarded = create_engine(database_url)
    fence.guard(guarded, TASK, mine.token)
    insert = text("insert into data_versions (name, version) values (:name, 1)")
    with guarded.begin() as connection:
        connection.execute(insert, {"name": "held"})
    with guarded.connect() as connection:  # begun while the lease was good
        connection.execute(insert, {"name": "lost"})
        taken(engine, "b")
        with pytest.raises(LeaseLost, match=str(TASK)):
            connection.commit()
    with pytest.raises(LeaseLost), guarded.begin() as connection:
        connection.execute(insert, {"name": "lost"})
    guarded.dispose()
    with engine.connect() as connection:
        assert connection.execute(text("select name from data_versions")).scalars().all() == [
            "held"
        ]


def test_a_lease_does_not_change_hands_between_the_check_and_the_commit(engine: Engine) -> None:
    mine = taken(engine, "a", OVER)
    with engine.connect() as connection:
        fence.check(connection, TASK, mine.token)
        with engine.connect() as other:
            other.execute(text("set lock_timeout = '200ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                leases.take(other, TASK, "b", LONG)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
