"""`autoindex archive` and `autoindex restore`: list and restore what the cleanup has archived."""

from datetime import date
from typing import Final

from rich.markup import escape
from rich.table import Table

from autoindex.errors import ArchiveUnverified, InvalidRequest
from autoindex.requests import ArchivedType
from autoindex.settings import Settings
from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.retention import archive_contents
from autoindex.storage.retention.archive import MonthArchive
from autoindex.storage.retention.expiry import AGED
from autoindex.storage.retention.restore import restore
from deployments.commands.caller import user_name
from deployments.database_connection import connected
from deployments.local.console import Step

_MOST_NAMES: Final = 10


def table(settings: Settings, step: Step) -> tuple[Table, list[str]]:
    """Every month of the archive, read back and compared with its manifest; what is damaged."""
    archive_contents.check_place(settings.archive)
    shown, damaged = Table("type", "month", "rows", "file"), []
    shown.columns[-1].overflow = "fold"
    for kind, aged in AGED.items():
        for month in archive_contents.months(settings.archive, aged.name):
            step.update(f"{kind} of {month:%Y-%m}")
            one = MonthArchive(settings.archive, aged.name, month)
            try:
                rows, state = f"{one.verify().rows:,}", "verified"
            except ArchiveUnverified as error:
                rows, state = "?", str(error)
                damaged.append(state)
            shown.add_row(kind, f"{month:%Y-%m}", rows, escape(state))
    return shown, damaged


def ignored(settings: Settings) -> str | None:
    """A sentence that names files in the archive that are not read; None if there are none."""
    found = [n if n.isprintable() else ascii(n) for n in archive_contents.foreign(settings.archive)]
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    names = ", ".join(found[:_MOST_NAMES]) + more
    return f"Ignored, not made or not finished by Autoindex: {names}" if found else None


def restore_rows(settings: Settings, kind: ArchivedType, start: date, end: date, step: Step) -> str:
    """Restore a range completely or not at all; a sentence with the result."""
    if start > end:
        raise InvalidRequest("--from", f"{start} lies after --to {end}")
    with connected(settings) as connection:
        count = restore(
            connection,
            settings.archive,
            kind,
            start,
            end,
            began=lambda month: step.update(f"{kind} of {month:%Y-%m}"),
        )
        after = {"from": start.isoformat(), "to": end.isoformat(), "rows": count}
        audit.record(connection, Author(user_name()), "restore", kind, after=after)
    if count == 0:
        return f"The archive holds no {kind} of {start} to {end} that are missing"
    return f"{count} {kind} rows of {start} to {end} restored; the archive keeps them too"
