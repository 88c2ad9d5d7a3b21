"""`autoindex universe`: which stocks the index may hold."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.table import Table

import sandbox
from autoindex.settings import Settings
from autoindex.storage.universe import assets, universe_file
from autoindex.storage.universe.assets import Imported
from deployments.database_connection import connected

SANDBOX_FILE: Final = Path(sandbox.__file__).parent / "data" / "universe.csv"


def import_file(settings: Settings, file: Path) -> str:
    """Import a CSV file completely or not at all; a sentence with the result."""
    universe_file.read(file)  # errors in the file are reported without a database, too
    with connected(settings) as connection:
        rows = universe_file.read(file, assets.list_assets(connection))
        done = assets.import_universe(connection, rows)
    return f"{done.inserted} inserted, {done.updated} updated, {done.unchanged} unchanged"


def import_sandbox(settings: Settings) -> Imported | None:
    """Import the sandbox's own universe, unless there is one already."""
    with connected(settings) as connection:
        if assets.list_assets(connection):
            return None
        return assets.import_universe(connection, universe_file.read(SANDBOX_FILE))


def table(settings: Settings) -> Table:
    """Every stock, as a table for the terminal."""
    shown = Table("symbol", "name", "exchange", "sector", "role", "active")
    with connected(settings) as connection:
        for asset in assets.list_assets(connection):
            active = "yes" if asset.active else "no"
            shown.add_row(
                asset.symbol, asset.name, asset.exchange, asset.sector or "", asset.role, active
            )
    return shown


def summary(settings: Settings) -> str:
    """A sentence with the numbers of active stocks, or how to import some."""
    with connected(settings) as connection:
        roles = Counter(asset.role for asset in assets.list_assets(connection) if asset.active)
    if not roles:
        return "empty: .venv/bin/autoindex universe import stocks.csv  (columns: see README.md)"
    return ", ".join(f"{count} {role}{'s' * (count > 1)}" for role, count in roles.most_common())


def deactivate(settings: Settings, symbols: Sequence[str]) -> str:
    """Deactivate stocks; a sentence with the result."""
    with connected(settings) as connection:
        count = assets.deactivate(connection, symbols)
    return f"{count} deactivated"
