"""What a run tells those who follow it: its step, how much is done, and the lines it logs.

Telling is for the reader's comfort: where the database does not take it, the run goes on, and says
so once in its log.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from prefect import get_run_logger
from prefect.runtime import flow_run
from sqlalchemy import Connection, Engine

import autoindex
from autoindex.storage.postgres.transient import UNAVAILABLE
from autoindex.storage.runs import task_progress

# Loggers of Prefect's `get_run_logger()`.
_RUN_LOGGERS: Final = ("prefect.flow_runs", "prefect.task_runs")
# Prefect logs through them too: exceptions with their traces, which are not for every reader.
_OURS: Final = (str(Path(__file__).parents[1]), str(Path(autoindex.__file__).parent))
_REQUEST_TAG: Final = "request:"

log = logging.getLogger("autoindex.flows")


class Teller:
    """Tells of one run."""

    def __init__(self, engine: Engine, task_id: UUID) -> None:
        self._engine = engine
        self._task_id = task_id
        self._heard = True

    def tell(self, change: Callable[[Connection, UUID, datetime], None]) -> None:
        """Make one change, in a transaction of its own; nothing more once one has failed."""
        if not self._heard:
            return
        try:
            with self._engine.begin() as connection:
                change(connection, self._task_id, datetime.now(UTC))
        except UNAVAILABLE as error:
            self._heard = False
            log.warning("progress is no longer told: the database fails", exc_info=error)


class Lines(logging.Handler):
    """Passes on what our own code logs about the run."""

    def __init__(self, teller: Teller) -> None:
        super().__init__(logging.INFO)
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a line."""
        if record.pathname.startswith(_OURS):
            level, line = record.levelname.lower(), record.getMessage()
            self._teller.tell(lambda c, task, now: task_progress.say(c, task, level, line, now))


_current: ContextVar[Teller | None] = ContextVar("teller", default=None)


@contextmanager
def opened(engine: Engine, task_id: UUID) -> Iterator[None]:
    """Tell of this run as long as this is open."""
    teller = Teller(engine, task_id)
    teller.tell(task_progress.begin)
    lines = Lines(teller)
    before = _current.set(teller)
    for name in _RUN_LOGGERS:
        logging.getLogger(name).addHandler(lines)
    try:
        if (request := request_id()) is not None:
            get_run_logger().info("asked for in request %s", request)
        yield
    finally:
        for name in _RUN_LOGGERS:
            logging.getLogger(name).removeHandler(lines)
        _current.reset(before)


def step(name: str) -> None:
    """Say which step begins; nothing where nobody is told."""
    if teller := _current.get():
        teller.tell(lambda c, task, now: task_progress.enter(c, task, name, now))


def count(completed: int, total: int, what: str) -> None:
    """Say how much is done; nothing where nobody is told."""
    if teller := _current.get():
        teller.tell(lambda c, task, now: task_progress.count(c, task, completed, total, what, now))


def request_id() -> str | None:
    """The id of the request that asked for this run, as the facade has tagged it."""
    tags: list[str] = flow_run.tags or []
    found = (tag.removeprefix(_REQUEST_TAG) for tag in tags if tag.startswith(_REQUEST_TAG))
    return next(found, None)
