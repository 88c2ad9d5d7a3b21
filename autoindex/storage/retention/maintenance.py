"""Maintenance: removes files and records that are no longer needed, and vacuums the database."""

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, Select, func, select, text

from autoindex import filenames
from autoindex.settings import Settings
from autoindex.storage import deliveries, stored_reports
from autoindex.storage.runs import idempotency
from autoindex.storage.tables import metadata
from autoindex.storage.tables import reports as reports_table
from autoindex.storage.webhooks import outbox

# The runs among these that Prefect keeps.
Kept = Callable[[Sequence[UUID]], Collection[UUID]]

_REPORTS_A_BATCH: Final = 500
# The most that Prefect's API answers at a time.
_RUNS_A_PAGE: Final = 200
# A row's header and its pointer in the page, in bytes, and half of what alignment may add.
_ROW_OVERHEAD: Final = 32


@dataclass(frozen=True, slots=True)
class Optimised:
    """The tables' size on disk before and after an optimisation, and how long it took.

    `bytes_reusable` estimates the space in their files that is free for new rows: a file shrinks
    only where its end is free.
    """

    bytes_before: int
    bytes_after: int
    bytes_reusable: int
    seconds: float


def clear_temporary(settings: Settings, older_than: datetime, *, dry_run: bool = False) -> int:
    """Remove the unfinished files of runs that died before `older_than`; how many."""
    files = [
        path
        for folder in _task_folders(settings.reports_dir)
        for path in _files(folder, filenames.is_unfinished)
        if _is_older(path, older_than)
    ]
    folders = [
        folder
        for folder in _folders(settings.temporary_dir, filenames.is_run_folder)
        if all(_is_older(path, older_than) for path in (folder, *folder.rglob("*")))
    ]
    if not dry_run:
        _remove(files)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return len(files) + len(folders)


def clear_reports(
    engine: Engine, settings: Settings, older_than: datetime, *, dry_run: bool = False
) -> int:
    """Remove reports made before `older_than`, and old report files that no row names; how many.

    A task that is killed before it stores its report leaves such a file. Folders that become empty
    are removed, too.
    """
    folder = settings.reports_dir.resolve()
    with engine.connect() as connection:
        expired = stored_reports.count_before(connection, older_than)
        orphans = _orphans(connection, folder, older_than)
    if not dry_run:
        # Listed before: removing a file changes the time of its folder.
        emptied = [one for one in _task_folders(folder) if _is_older(one, older_than)]
        _remove(orphans)
        while _remove_some(engine, folder, older_than):
            pass
        _remove_empty(emptied)
    return expired + len(orphans)


def _remove_some(engine: Engine, folder: Path, older_than: datetime) -> int:
    with engine.begin() as connection:
        expired = stored_reports.older_than(connection, older_than, limit=_REPORTS_A_BATCH)
        # Files first: a row whose file is gone is found again, a file whose row is gone is not.
        _remove(path for one in expired if (path := _inside(folder, one.path)))
        return stored_reports.forget(connection, [one.task_id for one in expired])


def _orphans(connection: Connection, folder: Path, older_than: datetime) -> list[Path]:
    named = {folder / path for path in connection.scalars(select(reports_table.c.path))}
    return [
        path
        for task_folder in _task_folders(folder)
        for path in _files(task_folder, filenames.is_report)
        if path not in named and _is_older(path, older_than)
    ]


def clear_mails(engine: Engine, older_than: datetime, kept: Kept, *, dry_run: bool = False) -> int:
    """Remove the records of mails claimed before `older_than` whose runs are not `kept`; how many.

    A run that is kept may run again, and must know what it has sent.
    """
    removed = 0
    for page in _pages(engine, deliveries.older_than(older_than)):
        stay = kept([row.task_id for row in page])
        gone = [row.task_id for row in page if row.task_id not in stay]
        removed += len(gone)
        if gone and not dry_run:
            with engine.begin() as connection:
                deliveries.forget(connection, gone)
    return removed


def clear_bookings(
    engine: Engine, older_than: datetime, kept: Kept, *, dry_run: bool = False
) -> int:
    """Remove the bookings made before `older_than` whose runs are not `kept`; how many."""
    removed = 0
    for page in _pages(engine, idempotency.older_than(older_than)):
        stay = kept([row.run_key for row in page])
        gone = [(row.key, row.run_key) for row in page if row.run_key not in stay]
        removed += len(gone)
        if gone and not dry_run:
            with engine.begin() as connection:
                idempotency.forget(connection, gone)
    return removed


def clear_webhooks(engine: Engine, older_than: datetime, *, dry_run: bool = False) -> int:
    """Remove the deliveries of webhooks that were made before `older_than`; how many."""
    with engine.begin() as connection:
        count = outbox.count_before if dry_run else outbox.forget
        return count(connection, older_than)


def _pages(engine: Engine, query: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
    with engine.connect() as connection:
        streamed = connection.execution_options(stream_results=True)
        yield from streamed.execute(query).partitions(_RUNS_A_PAGE)


def _inside(folder: Path, relative: str) -> Path | None:
    """The file at a path below `folder`; None where there is none, or a link leads to it."""
    path = folder / relative
    inside = path.is_relative_to(folder) and path.resolve() == path
    return path if inside and path.is_file() else None


def _task_folders(reports_dir: Path) -> list[Path]:
    return _folders(reports_dir, filenames.is_task_folder)


def _folders(parent: Path, ours: Callable[[str], bool]) -> list[Path]:
    return [Path(one.path) for one in _entries(parent, ours) if one.is_dir(follow_symlinks=False)]


def _files(parent: Path, ours: Callable[[str], bool]) -> list[Path]:
    return [Path(one.path) for one in _entries(parent, ours) if one.is_file(follow_symlinks=False)]


def _entries(parent: Path, ours: Callable[[str], bool]) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(parent) as entries:
            return [one for one in entries if ours(one.name)]
    except FileNotFoundError:
        return []


def _is_older(path: Path, instant: datetime) -> bool:
    try:
        return path.lstat().st_mtime < instant.timestamp()
    except FileNotFoundError:
        return False


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or gone already
            folder.rmdir()


def optimise(engine: Engine) -> Optimised:
    """VACUUM (ANALYZE) every table; readers and writers are not blocked."""
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
    """The files' sizes less the size of the rows that ANALYZE has counted."""
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
