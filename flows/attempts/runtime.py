"""What a flow run needs: its settings, the database, the cache, and the data's clock."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prefect.runtime import flow_run
from sqlalchemy import Engine

from autoindex import filenames
from autoindex.settings import Settings
from autoindex.storage.cache import Cache, from_settings
from autoindex.storage.postgres import engines
from autoindex.storage.runs import fence
from flows.attempts import progress
from flows.attempts.worker_env import LEASE_TOKEN


@dataclass(frozen=True, slots=True)
class Runtime:
    """Opened once per flow run and passed to its tasks."""

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
    engine = guarded_engine(settings)
    try:
        with _temporary_folder(), progress.reporting(engine, task_id()):
            yield Runtime(
                settings=settings,
                engine=engine,
                cache=from_settings(settings),
                now=settings.now(),
                task_id=task_id(),
            )
    finally:
        engine.dispose()


@contextmanager
def _temporary_folder() -> Iterator[None]:
    """Have libraries write temporary files where a cleanup finds them if the run dies."""
    before = tempfile.tempdir
    prefix = filenames.run_folder_prefix(task_id())
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def guarded_engine(settings: Settings) -> Engine:
    """Connections that refuse to commit once another worker holds this run."""
    engine = engines.run_engine(settings, task_id())
    token = os.environ.get(LEASE_TOKEN)
    if token is not None:
        fence.guard(engine, task_id(), int(token))
    return engine


def task_id() -> UUID:
    """The id of the current flow run."""
    return UUID(str(flow_run.id))
