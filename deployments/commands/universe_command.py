"""`autoindex universe`: which stocks the index may hold."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError
from rich.table import Table
from sqlalchemy import Connection

import sandbox
from autoindex.errors import InvalidRequest
from autoindex.reports.legible import shows
from autoindex.requests import Symbol
from autoindex.settings import Settings
from autoindex.storage.universe import (
    assets,
    membership_changes,
    memberships,
    universe_file,
    universe_list,
)
from autoindex.storage.universe.published_past import PublishedPast
from autoindex.storage.universe.universe_import import (
    Imported,
    UniverseImport,
    import_universe,
)
from autoindex.storage.universe.universe_row import UniverseRow
from deployments.commands.caller import user_name
from deployments.database_connection import connected
from deployments.local.console import Step

SANDBOX_FILE: Final = Path(sandbox.__file__).parent / "data" / "universe.csv"


def import_file(settings: Settings, file: Path, step: Step, *, backdate: bool = False) -> str:
    """Import a CSV file completely or not at all; a sentence with the result."""
    step.update(f"reading {file}")
    universe_file.read(file)  # errors in the file are reported without a database, too
    today = settings.now().date()
    with connected(settings) as connection:
        importing = UniverseImport(connection, today, user_name(), backdate=backdate)
        step.update("comparing it with the stored stocks")
        rows = universe_file.read(file, importing.members(), importing.refusal, settings.calendar)
        step.update(f"storing {len(rows):,} rows")
        done = importing.store(rows, settings.correction_sessions)
    counts = f"{done.inserted} inserted, {done.updated} updated, {done.unchanged} unchanged"
    return "\n".join([counts, *_illegible(rows)])


def _illegible(rows: Sequence[UniverseRow]) -> list[str]:
    """A sentence about names and sectors that a PDF cannot show; none where it shows all."""
    found = [text for row in rows for text in (row.name, row.sector or "") if not shows(text)]
    if not found:
        return []
    return [
        f"The PDF's typeface lacks letters of {len(found)} names or sectors, such as {found[0]}: "
        "PDF reports show symbols instead; Excel, JSON and mail show the names"
    ]


def import_sandbox(settings: Settings) -> Imported | None:
    """Import the sandbox's own universe, unless there is one already."""
    with connected(settings) as connection:
        if assets.list_assets(connection):
            return None
        rows = universe_file.read(SANDBOX_FILE, calendar=settings.calendar)
        return import_universe(connection, rows, today=settings.now().date())


def rows(settings: Settings, as_of: date | None) -> list[UniverseRow]:
    """Every stock, or the members of a day."""
    with connected(settings) as connection:
        if as_of is None:
            return universe_list.everyone(connection, settings.now().date())
        return universe_list.as_of(connection, as_of)


def table(listed: Sequence[UniverseRow]) -> Table:
    """Rows as a table for the terminal."""
    shown = Table("symbol", "name", "exchange", "sector", "role", "active", "from", "to")
    for column in shown.columns:
        column.overflow = "fold"
    for row in listed:
        active = "yes" if row.active else "no"
        dates = [str(day or "") for day in (row.member_from, row.member_to)]
        shown.add_row(
            row.symbol, row.name, row.exchange, row.sector or "", row.role, active, *dates
        )
    return shown


def csv_text(listed: Sequence[UniverseRow]) -> str:
    """Rows as a CSV file that can be imported."""
    text = io.StringIO()
    writer = csv.DictWriter(text, UniverseRow.model_fields, lineterminator="\n")
    writer.writeheader()
    for row in listed:
        values = row.model_dump()
        writer.writerow(values | {"active": "true" if row.active else "false"})
    return text.getvalue()


def summary(settings: Settings) -> str:
    """A sentence with the numbers of active stocks, or how to import some."""
    with connected(settings) as connection:
        roles = Counter(
            member.role for member in memberships.current(connection, settings.now().date())
        )
    if not roles:
        return "empty: .venv/bin/autoindex universe import stocks.csv  (columns: see README.md)"
    return ", ".join(f"{count} {role}{'s' * (count > 1)}" for role, count in roles.most_common())


def activate(settings: Settings, symbols: Sequence[str]) -> str:
    """Activate stocks; a sentence with the result."""
    with connected(settings) as connection:
        count = membership_changes.activate(connection, symbols, user_name())
        return f"{count} activated{_from(connection) if count else ''}"


def deactivate(settings: Settings, symbols: Sequence[str], since: date | None = None) -> str:
    """Deactivate stocks; a sentence with the result."""
    with connected(settings) as connection:
        count = membership_changes.deactivate(connection, symbols, user_name(), since)
        return f"{count} deactivated{_from(connection, since) if count else ''}"


def _from(connection: Connection, since: date | None = None) -> str:
    """From when a change counts; empty where nothing is published, and it counts from always."""
    first = since or PublishedPast.read(connection).following
    return "" if first == date.min else f" from {first} on"


def rename(settings: Settings, old: str, new: str, since: date | None = None) -> str:
    """Give a stock another symbol; a sentence with the result. Raises `InvalidRequest`."""
    try:
        symbol = TypeAdapter(Symbol).validate_python(new)
    except ValidationError:
        raise InvalidRequest("NEW", "must be a ticker in capitals, as in AAPL or BRK.B") from None
    today = settings.now().date()
    if since is not None and since > today:
        raise InvalidRequest("--from", "lies in the future; rename the stock on that day")
    with connected(settings) as connection:
        renamed = assets.rename(connection, old, symbol, user_name(), since or today)
    return f"{old} renamed to {new}" if renamed else f"{old} is renamed to {new} already"
