"""`autoindex universe`: which stocks the index may hold."""

import getpass
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.table import Table

import sandbox
from autoindex.settings import Settings
from autoindex.storage.universe import assets, membership_changes, memberships, universe_file
from autoindex.storage.universe.universe_import import (
    Imported,
    UniverseImport,
    import_universe,
)
from deployments.database_connection import connected

SANDBOX_FILE: Final = Path(sandbox.__file__).parent / "data" / "universe.csv"


def import_file(settings: Settings, file: Path) -> str:
    """Import a CSV file completely or not at all; a sentence with the result."""
    universe_file.read(file)  # errors in the file are reported without a database, too
    today = settings.now().date()
    with connected(settings) as connection:
        importing = UniverseImport(connection, today, _user())
        rows = universe_file.read(file, importing.members(), importing.refusal)
        done = importing.store(rows)
    return f"{done.inserted} inserted, {done.updated} updated, {done.unchanged} unchanged"


def _user() -> str:
    """Who runs this command; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def import_sandbox(settings: Settings) -> Imported | None:
    """Import the sandbox's own universe, unless there is one already."""
    with connected(settings) as connection:
        if assets.list_assets(connection):
            return None
        rows = universe_file.read(SANDBOX_FILE)
        return import_universe(connection, rows, today=settings.now().date())


def table(settings: Settings) -> Table:
    """Every stock, as a table for the terminal."""
    shown = Table("symbol", "name", "exchange", "sector", "role", "active")
    with connected(settings) as connection:
        members = {one.id: one for one in memberships.current(connection, settings.now().date())}
        for asset in assets.list_assets(connection):
            role = members[asset.id].role if asset.id in members else ""
            active = "yes" if role else "no"
            shown.add_row(
                asset.symbol, asset.name, asset.exchange, asset.sector or "", role, active
            )
    return shown


def summary(settings: Settings) -> str:
    """A sentence with the numbers of active stocks, or how to import some."""
    with connected(settings) as connection:
        roles = Counter(
            member.role for member in memberships.current(connection, settings.now().date())
        )
    if not roles:
        return "empty: .venv/bin/autoindex universe import stocks.csv  (columns: see README.md)"
    return ", ".join(f"{count} {role}{'s' * (count > 1)}" for role, count in roles.most_common())


def deactivate(settings: Settings, symbols: Sequence[str]) -> str:
    """Deactivate stocks; a sentence with the result."""
    with connected(settings) as connection:
        count = membership_changes.deactivate(connection, symbols, _user())
    return f"{count} deactivated"
