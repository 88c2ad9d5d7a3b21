"""Cleanup: rows past their keep-by date are archived, verified and then deleted.

A row is deleted only where the archive, read back, has the same row: the rows of the archive's file
are compared with the table's, and equal ones are deleted. So a cleanup may be killed anywhere and
run again, and a row that changes meanwhile is archived once more.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Final

import pyarrow as pa
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    TableClause,
    and_,
    delete,
    func,
    or_,
    select,
    update,
)

from autoindex.errors import ArchiveUnverified
from autoindex.requests import ArchivedType
from autoindex.storage import versions
from autoindex.storage.postgres import locks
from autoindex.storage.retention import archive_contents, expiry
from autoindex.storage.retention.archive import MonthArchive
from autoindex.storage.retention.expiry import AGED, AgedTable
from autoindex.storage.tables import assets, prices

# How often rows that change while they are archived are archived again before it is an error.
_PASSES: Final = 3


@dataclass(frozen=True, slots=True)
class Removed:
    """Rows removed of one type; `archived` of them are new to the archive.

    After a dry run, `deleted` counts what would be deleted, and nothing is archived.
    """

    type: ArchivedType
    archived: int = 0
    deleted: int = 0
    batches: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        return Removed(
            self.type,
            self.archived + other.archived,
            self.deleted + other.deleted,
            self.batches + other.batches,
        )


def clean(
    engine: Engine,
    *,
    types: Iterable[ArchivedType],
    older_than: date,
    archive_url: str,
    dry_run: bool,
    batch_rows: int = 20_000,
    pause_seconds: float = 0.05,
    began: Callable[[date], None] = lambda _: None,
) -> list[Removed]:
    """Archive and delete the rows dated before `older_than`, month by month, oldest first.

    Each batch is a transaction, followed by a pause, so that other work continues. Two cleanups
    run one after the other. `began` is told each month. Raises `ArchiveUnverified`, and then
    deletes no more.
    """
    kinds = list(dict.fromkeys(types))
    if dry_run:
        with engine.connect() as connection:
            return [Removed(kind, deleted=_count(connection, kind, older_than)) for kind in kinds]
    archive_contents.check_place(archive_url)
    with locks.exclusive(engine, "cleanup"):
        work = (
            _Cleaning(engine, kind, older_than, archive_url, batch_rows, pause_seconds, began)
            for kind in kinds
        )
        return [one.run() for one in work]


def _count(connection: Connection, kind: ArchivedType, older_than: date) -> int:
    aged = AGED[kind]
    query = select(func.count()).select_from(aged.table).where(aged.before(older_than))
    return connection.execute(query).scalar_one()


@dataclass(frozen=True, slots=True)
class _Cleaning:
    """The cleanup of one type."""

    engine: Engine
    kind: ArchivedType
    older_than: date
    archive_url: str
    batch_rows: int
    pause_seconds: float
    began: Callable[[date], None]

    @property
    def aged(self) -> AgedTable:
        return AGED[self.kind]

    def run(self) -> Removed:
        removed = Removed(self.kind)
        month = self._month_from(date.min)
        while month is not None:
            self.began(month)
            removed += self._clean_month(month)
            month = self._month_from(expiry.next_month(month))
        return removed

    def _month_from(self, day: date) -> date | None:
        """The first month from `day` on that has rows to remove."""
        oldest = select(func.min(self.aged.date_column)).where(
            self.aged.before(self.older_than), self.aged.since(day)
        )
        with self.engine.connect() as connection:
            found = connection.execute(oldest).scalar_one()
        return None if found is None else expiry.month_of(found)

    def _clean_month(self, month: date) -> Removed:
        archive = MonthArchive(self.archive_url, self.aged.name, month)
        removed = Removed(self.kind)
        for _ in range(_PASSES):
            which = self._which(month, self.aged.table)
            with closing(expiry.rows(self.engine, self.aged, which)) as rows:
                merged = archive.merge(rows, self.aged.schema, self.aged.archive_key)
            removed += Removed(self.kind, archived=merged.added)
            removed += self._delete(archive, month)
            if not self._left(month):
                return removed
        raise ArchiveUnverified(
            f"{self._left(month)} rows of {self.aged.name} in {month:%Y-%m} differ from their "
            f"archive {archive.path}, again and again; they were not deleted"
        )

    def _which(self, month: date, rows: FromClause) -> ColumnElement[bool]:
        """Whether one of `rows`, which have the table's columns, is of the month and has to go."""
        dated, begin = rows.c[self.aged.dated], self.aged.begin
        return and_(
            dated >= begin(month),
            dated < begin(expiry.next_month(month)),
            dated < begin(self.older_than),
        )

    def _left(self, month: date) -> int:
        table = self.aged.table
        query = select(func.count()).select_from(table).where(self._which(month, table))
        with self.engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def _delete(self, archive: MonthArchive, month: date) -> Removed:
        removed = Removed(self.kind)
        with archive.opened() as file:
            self._keep_from(month)
            for batch in file.iter_batches(self.batch_rows):
                deleted = self._delete_batch(batch, month)
                if deleted:
                    removed += Removed(self.kind, deleted=deleted, batches=1)
                    time.sleep(self.pause_seconds)
        return removed

    def _keep_from(self, month: date) -> None:
        """Stop refreshes from fetching the rows that are about to be deleted."""
        if self.kind != "prices":
            return
        day = min(self.older_than, expiry.next_month(month))
        losing = select(prices.c.asset_id).where(self._which(month, prices)).distinct()
        lower = or_(assets.c.prices_kept_from.is_(None), assets.c.prices_kept_from < day)
        raised = update(assets).where(assets.c.id.in_(losing), lower).values(prices_kept_from=day)
        with self.engine.begin() as connection:
            locks.until_commit(connection, locks.PRICES)
            connection.execute(raised)

    def _delete_batch(self, batch: pa.RecordBatch, month: date) -> int:
        with self.engine.begin() as connection:
            if self.kind == "prices":
                locks.until_commit(connection, locks.PRICES)
            ids = expiry.asset_ids(connection)
            staged = expiry.stage(connection, self.aged, batch, ids)
            # The month is filtered among the staged rows, which have the same dates. A filter on
            # the table would lead the planner to join by date, each symbol with every other.
            which = and_(self._which(month, staged), _equal(self.aged, staged))
            deleted = connection.execute(delete(self.aged.table).where(which)).rowcount
            if deleted and self.kind == "prices":
                versions.bump(connection, versions.PRICES)
        return deleted


def _equal(aged: AgedTable, staged: TableClause) -> ColumnElement[bool]:
    keys = (aged.table.c[name] == staged.c[name] for name in aged.key)
    others = (
        aged.table.c[name].is_not_distinct_from(staged.c[name])
        for name in aged.columns
        if name not in aged.key
    )
    return and_(*keys, *others)
