"""A fence around a task's writes: commits by a former holder of its lease are refused.

Its open transactions are ended, too, so that a paused host does not keep locks: its connections are
known by the task's name.
"""

from uuid import UUID

from sqlalchemy import Connection, Engine, event, text

from autoindex.errors import LeaseLost
from autoindex.storage.postgres.engines import run_name

# The row stays locked from here to the commit, so that the lease can't change hands in between.
_HOLDS = text("select 1 from leases where task_id = :task_id and token = :token for share")


def check(connection: Connection, task_id: UUID, token: int) -> None:
    """Raise `LeaseLost` unless `token` is the task's newest; holds the lease until the commit."""
    found = connection.execute(_HOLDS, {"task_id": task_id, "token": token})
    if found.one_or_none() is None:
        raise LeaseLost(task_id)


def guard(engine: Engine, task_id: UUID, token: int) -> None:
    """Check the lease before each commit on this engine; a refused transaction is rolled back."""

    @event.listens_for(engine, "commit")
    def refuse_former_holder(connection: Connection) -> None:
        try:
            check(connection, task_id, token)
        except LeaseLost:
            # SQLAlchemy considers the transaction ended here, and would leave it open.
            connection.connection.rollback()
            raise


def evict(connection: Connection, task_id: UUID) -> int:
    """End the connections of a task's former attempts, before the next one begins; how many."""
    statement = text(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name = :name"
    )
    return len(connection.execute(statement, {"name": run_name(task_id)}).all())
