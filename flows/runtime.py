"""What a flow run works with: its settings, the database, the cache, and the data's clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prefect.runtime import flow_run
from sqlalchemy import Engine

from autoindex.settings import Settings
from autoindex.storage import database
from autoindex.storage.cache import Cache, from_settings
from flows import telling


@dataclass(frozen=True, slots=True)
class Runtime:
    """Opened once a flow run and handed to its tasks."""

    settings: Settings
    engine: Engine
    cache: Cache
    now: datetime
    task_id: UUID
    """The flow run's id, which is the facade's task id."""


@contextmanager
def opened() -> Iterator[Runtime]:
    """Read the settings, connect, and disconnect at the end."""
    settings = Settings()
    engine = database.engine(settings, "autoindex-flow")
    task_id = UUID(str(flow_run.id))
    try:
        with telling.opened(engine, task_id):
            yield Runtime(
                settings=settings,
                engine=engine,
                cache=from_settings(settings),
                now=settings.now(),
                task_id=task_id,
            )
    finally:
        engine.dispose()
