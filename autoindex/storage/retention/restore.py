"""Restores archived rows to their tables."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, TableClause, func, select, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.errors import UnknownSymbols
from autoindex.requests import ArchivedType
from autoindex.storage import versions
from autoindex.storage.postgres import locks
from autoindex.storage.retention import archive_contents, expiry
from autoindex.storage.retention.archive import MonthArchive
from autoindex.storage.retention.expiry import AGED, AgedTable
from autoindex.storage.tables import assets


def restore(
    connection: Connection,
    archive_url: str,
    kind: ArchivedType,
    start: date,
    end: date,
    *,
    began: Callable[[date], None] = lambda _: None,
) -> int:
    """Restore the rows dated `start` to `end`, both included; how many were missing.

    Stored rows do not change, and the archive keeps its rows. Prices are adjusted for the splits
    known when they were archived. They lower `prices_kept_from`, so that the next full refresh
    fetches them again. `began` is told each month. Raises `ArchiveUnverified`, or
    `UnknownSymbols` where the universe lacks an asset; nothing is restored then.
    """
    archive_contents.check_place(archive_url)
    aged = AGED[kind]
    locks.until_commit(connection, "cleanup")
    if kind == "prices":
        locks.until_commit(connection, locks.PRICES)
    restored = 0
    for month in archive_contents.months(archive_url, aged.name):
        if expiry.month_of(start) <= month <= end:
            began(month)
            archive = MonthArchive(archive_url, aged.name, month)
            restored += _restore_month(connection, aged, archive, start, end)
    if restored and kind == "prices":
        versions.bump(connection, versions.PRICES)
    return restored


def _restore_month(
    connection: Connection, aged: AgedTable, month: MonthArchive, start: date, end: date
) -> int:
    ids = expiry.asset_ids(connection)
    restored = 0
    with month.opened() as file:
        for batch in file.iter_batches():
            wanted = _dated(batch, aged, start, end)
            _check_known(wanted, aged, ids)
            staged = expiry.stage(connection, aged, wanted, ids)
            restored += _insert(connection, aged, staged)
            if aged is AGED["prices"]:
                _lower_kept_from(connection, staged)
    return restored


def _dated(batch: pa.RecordBatch, aged: AgedTable, start: date, end: date) -> pa.RecordBatch:
    dates = batch.column(aged.dated)
    first = pa.scalar(aged.begin(start), dates.type)
    after = pa.scalar(aged.begin(end + timedelta(days=1)), dates.type)
    return batch.filter(pc.and_(pc.greater_equal(dates, first), pc.less(dates, after)))


def _check_known(batch: pa.RecordBatch, aged: AgedTable, ids: Mapping[str, int]) -> None:
    if "symbol" in aged.schema.names:
        unknown = set(batch.column("symbol").to_pylist()) - set(ids) - {None}
        if unknown:
            raise UnknownSymbols(sorted(unknown))


def _insert(connection: Connection, aged: AgedTable, staged: TableClause) -> int:
    columns = [staged.c[name] for name in aged.columns]
    missing = insert(aged.table).from_select(list(aged.columns), select(*columns))
    inserted = missing.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return connection.execute(inserted).rowcount


def _lower_kept_from(connection: Connection, staged: TableClause) -> None:
    first = func.min(staged.c.session).label("first")
    firsts = select(staged.c.asset_id, first).group_by(staged.c.asset_id).subquery()
    lowered = update(assets).where(
        assets.c.id == firsts.c.asset_id, assets.c.prices_kept_from > firsts.c.first
    )
    connection.execute(lowered.values(prices_kept_from=firsts.c.first))
