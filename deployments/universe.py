"""`autoindex universe`: which stocks the index may hold."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.table import Table
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

import autoindex.market_data.sandbox
from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from autoindex.storage import assets, database
from autoindex.storage.assets import Imported

SANDBOX_FILE: Final = Path(autoindex.market_data.sandbox.__file__).parent / "data" / "universe.csv"


def import_file(settings: Settings, file: Path) -> str:
    """Import a CSV file, whole or not at all; what that did, in a sentence."""
    rows = assets.read_universe(file)
    with _connected(settings) as connection:
        done = assets.import_universe(connection, rows)
    return f"{done.inserted} inserted, {done.updated} updated, {done.unchanged} unchanged"


def import_sandbox(settings: Settings) -> Imported | None:
    """Import the sandbox's own universe, unless there is one already."""
    with _connected(settings) as connection:
        if assets.list_assets(connection):
            return None
        return assets.import_universe(connection, assets.read_universe(SANDBOX_FILE))


def table(settings: Settings) -> Table:
    """Every stock, as a table for the terminal."""
    shown = Table("symbol", "name", "exchange", "sector", "role", "active")
    with _connected(settings) as connection:
        for asset in assets.list_assets(connection):
            active = "yes" if asset.active else "no"
            shown.add_row(
                asset.symbol, asset.name, asset.exchange, asset.sector or "", asset.role, active
            )
    return shown


def deactivate(settings: Settings, symbols: Sequence[str]) -> str:
    """Take stocks out; what that did, in a sentence."""
    with _connected(settings) as connection:
        count = assets.deactivate(connection, symbols)
    return f"{count} deactivated"


@contextmanager
def _connected(settings: Settings) -> Iterator[Connection]:
    engine = database.engine(settings, "autoindex-cli")
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        where = (
            f"the embedded PostgreSQL in {settings.data_dir} (is `make up` running?)"
            if settings.embedded
            else "PostgreSQL (AUTOINDEX_DATABASE_URL)"
        )
        raise ConfigurationError(f"can't use {where}: {error.orig}") from error
    finally:
        engine.dispose()
