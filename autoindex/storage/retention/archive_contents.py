"""The contents of the archive: its months and foreign files; and archives in the wrong place."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from shlex import quote
from typing import Any, Final

from autoindex.errors import ConfigurationError
from autoindex.storage.retention.archive import FILE_URL, MonthArchive, filesystem
from autoindex.storage.retention.expiry import AGED

_MONTH: Final = re.compile(r"[1-9]\d{3}-(?:0[1-9]|1[0-2])", re.ASCII)


def months(archive_url: str, table: str) -> list[date]:
    """The months of a table that the archive holds, oldest first."""
    files, root = filesystem(archive_url)
    found = (_month(name) for name in _names(files, f"{root}/{table}"))
    return sorted(
        month for month in found if month and MonthArchive(archive_url, table, month).has_begun
    )


def foreign(archive_url: str) -> list[str]:
    """Files in the archive that are never read: foreign or unfinished ones."""
    files, root = filesystem(archive_url)
    tables = {aged.name for aged in AGED.values()}
    beside = _names(files, root) - tables
    return sorted([*beside, *(one for table in tables for one in _foreign(archive_url, table))])


def check_place(archive_url: str) -> None:
    """Raise `ConfigurationError` where an earlier version has put the archive somewhere else.

    It did not decode `file:///S%20pace`, which means a space.
    """
    wrong = archive_url.removeprefix(FILE_URL).rstrip("/")
    _, folder = filesystem(archive_url)
    if not archive_url.startswith(FILE_URL) or wrong == folder or not _is_archive(wrong):
        return
    here, there = quote(wrong), quote(folder)
    way_out = (
        f"and there is another in {folder}: set AUTOINDEX_ARCHIVE_URL={here}, bring its rows back "
        f"with `autoindex restore`, undo the setting, and move {here} away"
        if _is_archive(folder)
        else f"not into {folder}: move it, with "
        f"`mkdir -p {quote(str(Path(folder).parent))} && mv -T {here} {there}`"
    )
    raise ConfigurationError(f"an earlier version has put the archive into {wrong}, {way_out}")


def _is_archive(folder: str) -> bool:
    return any(months(folder, aged.name) for aged in AGED.values())


def _foreign(archive_url: str, table: str) -> Iterator[str]:
    files, root = filesystem(archive_url)
    for name in _names(files, f"{root}/{table}"):
        month = _month(name)
        if month is None or not MonthArchive(archive_url, table, month).has_begun:
            yield f"{table}/{name}"
        else:
            others = _names(files, f"{root}/{table}/{name}") - {f"{table}.parquet", "manifest.json"}
            yield from (f"{table}/{name}/{other}" for other in others)


def _month(name: str) -> date | None:
    return date.fromisoformat(f"{name}-01") if _MONTH.fullmatch(name) else None


def _names(files: Any, folder: str) -> set[str]:
    files.invalidate_cache()
    try:
        found = files.ls(folder, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    # An object store may list the folder itself.
    paths = {path.rstrip("/") for path in found} - {folder.rstrip("/")}
    return {path.rpartition("/")[2] for path in paths}
