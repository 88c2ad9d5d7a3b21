"""Upkeep: files nobody needs any more, and the database's own housekeeping."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, func, select, text

from autoindex.settings import Settings
from autoindex.storage import bookings, deliveries, reports
from autoindex.storage.tables import metadata
from autoindex.storage.tables import reports as reports_table

# What a report is called until it is whole: see `autoindex.reports.files.write`.
_UNFINISHED: Final = ".writing-*"
_REPORTS_A_BATCH: Final = 500
# A row's header and its pointer in the page, in bytes, and half of what alignment may add.
_ROW_OVERHEAD: Final = 32


@dataclass(frozen=True, slots=True)
class Optimised:
    """The tables' size on disk around an optimisation, and how long that took.

    `bytes_reusable` is about how much inside their files is free for new rows: deleted rows leave
    room there, and the files shrink only where their ends are free.
    """

    bytes_before: int
    bytes_after: int
    bytes_reusable: int
    seconds: float


def clear_temporary(settings: Settings, older_than: datetime, *, dry_run: bool = False) -> int:
    """Remove files left behind by tasks that died before `older_than`; how many."""
    left_behind = [
        *_files(settings.temporary_dir, "*"),
        *_files(settings.reports_dir, _UNFINISHED),
    ]
    if dry_run:
        return sum(_is_older(path, older_than) for path in left_behind)
    # Looked at before: taking a file out makes its folder new.
    emptied = _old_folders(settings.temporary_dir, older_than)
    removed = _remove(path for path in left_behind if _is_older(path, older_than))
    _remove_empty(emptied)
    return removed


def clear_reports(
    engine: Engine, settings: Settings, older_than: datetime, *, dry_run: bool = False
) -> int:
    """Remove reports made before `older_than`, and old files that are no report's; how many.

    The records of their mails go with them, and the folders that are empty then.
    """
    if dry_run:
        return _count_reports(engine, settings.reports_dir, older_than)
    emptied = _old_folders(settings.reports_dir, older_than)
    removed = 0
    while expired := _remove_some(engine, settings.reports_dir, older_than):
        removed += expired
    removed += _remove_orphans(engine, settings.reports_dir, older_than)
    _remove_empty(emptied)
    return removed


def _count_reports(engine: Engine, folder: Path, older_than: datetime) -> int:
    with engine.connect() as connection:
        expired = reports.older_than(connection, older_than)
        orphans = _orphans(connection, folder, older_than)
    # The real run takes the files of expired reports, and unfinished ones, before it looks.
    unfinished = set(folder.rglob(_UNFINISHED))
    return len(expired) + len(set(orphans) - unfinished - {folder / one.path for one in expired})


def _remove_some(engine: Engine, folder: Path, older_than: datetime) -> int:
    with engine.begin() as connection:
        expired = reports.older_than(connection, older_than, limit=_REPORTS_A_BATCH)
        # Files first: a row whose file is gone is found again, a file whose row is gone is not.
        _remove(path for report in expired if (path := _inside(folder, report.path)))
        task_ids = [report.task_id for report in expired]
        deliveries.forget(connection, task_ids)
        return reports.forget(connection, task_ids)


def _remove_orphans(engine: Engine, folder: Path, older_than: datetime) -> int:
    with engine.connect() as connection:
        return _remove(_orphans(connection, folder, older_than))


def _orphans(connection: Connection, folder: Path, older_than: datetime) -> list[Path]:
    """Old files without a report: a task killed before it stored its report leaves one behind."""
    old = [path for path in _files(folder, "*") if _is_older(path, older_than)]
    named = {folder / path for path in connection.scalars(select(reports_table.c.path))}
    return [path for path in old if path not in named]


def clear_mails(engine: Engine, older_than: datetime, *, dry_run: bool = False) -> int:
    """Remove the records of mails claimed before `older_than`, sent or not; how many."""
    with engine.begin() as connection:
        if dry_run:
            return deliveries.count_before(connection, older_than)
        return deliveries.forget_before(connection, older_than)


def clear_bookings(engine: Engine, older_than: datetime, *, dry_run: bool = False) -> int:
    """Remove what was noted of requests before `older_than`; how many."""
    with engine.begin() as connection:
        if dry_run:
            return bookings.count_before(connection, older_than)
        return bookings.forget_before(connection, older_than)


def _inside(folder: Path, relative: str) -> Path | None:
    path = (folder / relative).resolve()
    return path if path.is_relative_to(folder.resolve()) else None


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    # The list is made first: what is found may vanish while it is walked.
    return (path for path in list(folder.rglob(pattern)) if path.is_symlink() or path.is_file())


def _is_older(path: Path, instant: datetime) -> bool:
    try:
        return path.lstat().st_mtime < instant.timestamp()
    except FileNotFoundError:
        return False


def _remove(paths: Iterable[Path]) -> int:
    removed = 0
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            removed += 1
    return removed


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or gone already
            folder.rmdir()


def _old_folders(folder: Path, older_than: datetime) -> list[Path]:
    """The folders below, innermost first."""
    below = [path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()]
    return [path for path in sorted(below, reverse=True) if _is_older(path, older_than)]


def optimise(engine: Engine) -> Optimised:
    """VACUUM (ANALYZE) every table of ours; readers and writers go on beside it."""
    started = time.monotonic()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = _bytes(connection)
        for table in metadata.sorted_tables:
            connection.execute(text(f"vacuum (analyze) {table.name}"))
        after, reusable = _bytes(connection), _reusable(connection)
    return Optimised(before, after, reusable, time.monotonic() - started)


def _bytes(connection: Connection) -> int:
    sizes = (func.pg_total_relation_size(table.name) for table in metadata.sorted_tables)
    row = connection.execute(select(*(size.label(None) for size in sizes))).one()
    return sum(row)


def _reusable(connection: Connection) -> int:
    """What ANALYZE has counted, taken from the files' sizes."""
    query = text("""
        select coalesce(sum(greatest(
            pg_relation_size(c.oid) - greatest(c.reltuples, 0) * (:overhead + rows.width), 0
        )), 0)::bigint
        from pg_class c, lateral (
            select coalesce(sum((1 - null_frac) * avg_width), 0) as width from pg_stats
            where schemaname = current_schema() and tablename = c.relname
        ) rows
        where c.relnamespace = current_schema()::regnamespace and c.relname = any(:names)
    """)
    names = [table.name for table in metadata.sorted_tables]
    found = connection.execute(query, {"names": names, "overhead": _ROW_OVERHEAD})
    return int(found.scalar_one())
