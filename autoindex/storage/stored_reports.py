"""Stored reports: the period each covers, and its file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.tables import reports


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One report's file; `path` is relative to the folder of the reports.

    `requested_by` is None where a schedule asked for it.
    """

    task_id: UUID
    report_type: str
    format: str
    period_start: date
    period_end: date
    path: str
    media_type: str
    size_bytes: int
    sha256: str
    requested_by: str | None
    created_at: datetime


def record(connection: Connection, report: StoredReport) -> None:
    """Store a task's report; a second run of the same task replaces it."""
    row = asdict(report)
    statement = insert(reports).values(row)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[reports.c.task_id], set_=row)
    )


def find(connection: Connection, task_id: UUID) -> StoredReport | None:
    """The report a task has made; None where it has made none."""
    query = select(reports).where(reports.c.task_id == task_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _report(row)


def older_than(connection: Connection, instant: datetime, limit: int) -> list[StoredReport]:
    """The reports made before `instant`, oldest first; at most `limit` of them."""
    query = (
        select(reports)
        .where(reports.c.created_at < instant)
        .order_by(reports.c.created_at, reports.c.task_id)
        .limit(limit)
    )
    return [_report(row) for row in connection.execute(query)]


def count_before(connection: Connection, instant: datetime) -> int:
    """How many reports were made before `instant`."""
    query = select(func.count()).where(reports.c.created_at < instant)
    return connection.execute(query).scalar_one()


def forget(connection: Connection, task_ids: Sequence[UUID]) -> int:
    """Remove the rows of reports whose files are gone; how many."""
    chosen = reports.c.task_id.in_(list(task_ids))
    return connection.execute(delete(reports).where(chosen)).rowcount


def _report(row: Row[Any]) -> StoredReport:
    return StoredReport(**row._mapping)
