"""Transient errors of PostgreSQL: one rule for the facade, the worker and the flows.

psycopg makes an `OperationalError` of nearly all of them: a lost connection (08), a rollback for
another transaction's sake (40), a full disk or too many connections (53), a lock not available
(55P03), an operator's stop (57P01 to 57P05), a statement that took too long (57014). What is
missing there becomes one here, so that nobody needs to know more than `UNAVAILABLE`.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

UNAVAILABLE: Final = (InterfaceError, OperationalError, PoolTimeout)
"""What is raised where the server does not answer, or not now, or no connection gets free."""
LONGEST_OUTAGE_SECONDS: Final = 600.0
"""Longer than the restart of a server, or of its host, takes."""
RETRY_SECONDS: Final = 1.0

READ_ONLY: Final = psycopg.errors.ReadOnlySqlTransaction
"""The server takes no writes, as a replica; another connection may reach the one that does."""
_ALSO: Final = (
    READ_ONLY,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


def until_available(
    engine: Engine,
    function: Callable[[Connection, *Ts], R],
    *args: *Ts,
    seconds: float = LONGEST_OUTAGE_SECONDS,
) -> R:
    """Call a function in a transaction of its own, each second while the server is unavailable.

    After so many seconds the error is raised. Where the answer to a commit is lost, the change may
    be made twice.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with engine.begin() as connection:
                return function(connection, *args)
        except UNAVAILABLE:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)


def handle(context: ExceptionContext) -> Exception | None:
    """Tell SQLAlchemy that an error is transient, and whether it takes all connections with it."""
    found = context.original_exception
    if not isinstance(found, _ALSO):
        return None
    if isinstance(found, READ_ONLY):
        context.is_disconnect = True
    return operational(found, context.statement)


def operational(error: psycopg.Error, statement: str | None) -> DBAPIError:
    """What SQLAlchemy raises for psycopg's error; an `OperationalError` if it is transient."""
    if isinstance(error, _ALSO):
        return OperationalError(statement, None, error)
    wrapped = DBAPIError.instance(statement, None, error, psycopg.Error)
    assert isinstance(wrapped, DBAPIError)  # noqa: S101
    return wrapped
