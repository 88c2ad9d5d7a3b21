"""What a flow run works with: its settings, the database, the cache, and the data's clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from autoindex.settings import Settings
from autoindex.storage import cache, database


@dataclass(frozen=True, slots=True)
class Runtime:
    """Opened once a flow run and handed to its tasks."""

    settings: Settings
    engine: Engine
    cache: cache.Cache
    now: datetime


@contextmanager
def opened() -> Iterator[Runtime]:
    """Read the settings, connect, and disconnect at the end."""
    settings = Settings()
    engine = database.engine(settings)
    try:
        yield Runtime(settings, engine, cache.from_settings(settings), settings.now())
    finally:
        engine.dispose()
