"""What a run reports to its followers: its step, how much is done, and its log lines.

A run does not depend on its reports: if the database does not take one, the run continues without,
and logs that once.
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
# Prefect logs through them, too: exceptions with tracebacks, which not every reader may see.
_OUR_CODE: Final = (str(Path(__file__).parents[1]), str(Path(autoindex.__file__).parent))
_REQUEST_TAG: Final = "request:"

log = logging.getLogger("autoindex.flows")


class ProgressReporter:
    """Reports the progress of one run."""

    def __init__(self, engine: Engine, task_id: UUID) -> None:
        self._engine = engine
        self._task_id = task_id
        self._is_recorded = True

    def report(self, change: Callable[[Connection, UUID, datetime], None]) -> None:
        """Make one change, in a transaction of its own; none after one has failed."""
        if not self._is_recorded:
            return
        try:
            with self._engine.begin() as connection:
                change(connection, self._task_id, datetime.now(UTC))
        except UNAVAILABLE as error:
            self._is_recorded = False
            log.warning(
                "progress is no longer reported: the database is unavailable", exc_info=error
            )


class RunLogHandler(logging.Handler):
    """Reports the lines that our own code logs about the run."""

    def __init__(self, reporter: ProgressReporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Report a line."""
        if record.pathname.startswith(_OUR_CODE):
            level, line = record.levelname.lower(), record.getMessage()
            self._reporter.report(lambda c, task, now: task_progress.say(c, task, level, line, now))


_current: ContextVar[ProgressReporter | None] = ContextVar("reporter", default=None)


@contextmanager
def reporting(engine: Engine, task_id: UUID) -> Iterator[None]:
    """Report the progress of this run within the block."""
    reporter = ProgressReporter(engine, task_id)
    reporter.report(task_progress.begin)
    handler = RunLogHandler(reporter)
    before = _current.set(reporter)
    for name in _RUN_LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        if (request := request_id()) is not None:
            get_run_logger().info("asked for in request %s", request)
        yield
    finally:
        for name in _RUN_LOGGERS:
            logging.getLogger(name).removeHandler(handler)
        _current.reset(before)


def step(name: str) -> None:
    """Report which step begins, if the run reports its progress."""
    if reporter := _current.get():
        reporter.report(lambda c, task, now: task_progress.enter(c, task, name, now))


def count(completed: int, total: int, what: str) -> None:
    """Report how much is done, if the run reports its progress."""
    if reporter := _current.get():
        reporter.report(
            lambda c, task, now: task_progress.count(c, task, completed, total, what, now)
        )


def request_id() -> str | None:
    """The id of the request that started this run, from the tag that the facade gives it."""
    tags: list[str] = flow_run.tags or []
    found = (tag.removeprefix(_REQUEST_TAG) for tag in tags if tag.startswith(_REQUEST_TAG))
    return next(found, None)
