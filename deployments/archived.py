"""`autoindex archive` and `autoindex restore`: what was cleaned up, and how it comes back."""

from datetime import date

from rich.table import Table

from autoindex.errors import ArchiveUnverified, InvalidRequest
from autoindex.requests import ArchivedType
from autoindex.settings import Settings
from autoindex.storage import archive
from autoindex.storage.ageing import AGED
from autoindex.storage.archive import MonthArchive
from autoindex.storage.restore import restore
from deployments.connection import connected


def table(settings: Settings) -> tuple[Table, list[str]]:
    """Every month of the archive, read back and compared with its manifest; what is damaged."""
    shown, damaged = Table("type", "month", "rows", "file"), []
    for kind, aged in AGED.items():
        for month in archive.months(settings.archive, aged.name):
            one = MonthArchive(settings.archive, aged.name, month)
            try:
                rows, state = f"{one.verify().rows:,}", "verified"
            except ArchiveUnverified as error:
                rows, state = "?", str(error)
                damaged.append(state)
            shown.add_row(kind, f"{month:%Y-%m}", rows, state)
    return shown, damaged


def bring_back(settings: Settings, kind: ArchivedType, start: date, end: date) -> str:
    """Restore a range, all of it or nothing; what that did, in a sentence."""
    if start > end:
        raise InvalidRequest("--from", f"{start} lies after --to {end}")
    with connected(settings) as connection:
        count = restore(connection, settings.archive, kind, start, end)
    return f"{count} {kind} rows of {start} to {end} restored; the archive keeps them too"
