"""What has no other attempt outlasts a database that is unavailable."""

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from autoindex.storage.postgres import locks, transient

HANG_UP = text("select pg_terminate_backend(pg_backend_pid())")
FREE_EVERY_LOCK = text("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")


def test_a_transaction_is_begun_again_until_the_server_is_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transient, "RETRY_SECONDS", 0)
    outage = [True, True, False]

    def ask(connection: Connection, number: int) -> int:
        if outage.pop(0):
            connection.execute(HANG_UP)
        return number + connection.execute(text("select 1")).scalar_one()

    assert transient.until_available(engine, ask, 1) == 2
    outage[:] = [True, False]
    with pytest.raises(OperationalError):
        transient.until_available(engine, ask, 1, seconds=-1)


def test_a_lock_that_went_with_its_connection_hides_no_error(engine: Engine) -> None:
    @locks.exclusive(engine, "refresh")
    def fail() -> None:
        with engine.connect() as connection:
            connection.execute(FREE_EVERY_LOCK)
        raise LookupError

    with pytest.raises(LookupError):
        fail()
