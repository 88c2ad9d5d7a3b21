"""A fence around a task's writes: what a former holder of its lease still commits is refused."""

from uuid import UUID

from sqlalchemy import Connection, Engine, event, text

from autoindex.errors import LeaseLost

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
            # SQLAlchemy takes the transaction for ended here, and would leave it open.
            connection.connection.rollback()
            raise
