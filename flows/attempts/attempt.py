"""One attempt of a task, and how it ends when the next attempt is to continue.

An Autoindex worker holds each attempt by a lease, whose token is in the environment. Elsewhere, as
in a notebook or with Prefect's own worker, an attempt waits in place.
"""

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from prefect import State, get_run_logger
from prefect.runtime import flow_run
from prefect.states import AwaitingRetry, Scheduled

from autoindex.errors import AttemptOver, AutoindexError, DataBusy, MemoryLimit
from autoindex.masking import mask_error, masked
from autoindex.settings import Settings
from autoindex.storage.postgres import transient
from autoindex.storage.runs import checkpoints
from flows.attempts import time_limit
from flows.attempts.runtime import guarded_engine, task_id
from flows.attempts.transient_errors import unavailable_part
from flows.attempts.worker_env import LEASE_TOKEN, MEMORY_LIMIT

RETRIES: Final = 3
# Spreads waits over 0.5 to 1.5 times the delay, so that runs that failed together do not retry
# together.
JITTER: Final = 0.5
AWAITING_TURN: Final = "AwaitingTurn"
# As long as a short task holds the lock.
_LOCK_WAIT_SECONDS: Final = 5.0
# Longer than runs that wait for the lock take to try again and to start: they run in between.
_NEXT_ATTEMPT_SECONDS: Final = 15.0
# To end an attempt and to start the next takes about a second.
_MIN_RELEASE_SECONDS: Final = 5.0

P = ParamSpec("P")
R = TypeVar("R")


class Postponed(AutoindexError):
    """A transient error in a subtask, which ends the attempt; the task may have another."""

    def __init__(self, subtask: str, error: Exception) -> None:
        super().__init__(f"{subtask} ended this attempt: {error}")
        self.subtask = subtask
        self.error = error


def releases_slot() -> bool:
    """Whether a wait for a retry ends this attempt, so that other runs get its slot."""
    return LEASE_TOKEN in os.environ and Settings().retry_delay_seconds > _MIN_RELEASE_SECONDS


def resumable(function: Callable[P, R]) -> Callable[P, R | State[Any]]:
    """Make a flow's function end as AwaitingRetry if a subtask is postponed.

    The run releases its slot, and continues later under the same id. A subtask's retries are
    counted over all attempts; after the last its error is raised. At the soft time limit the
    function raises `SoftTimeLimit`.
    """

    limited = time_limit.enforced(function)

    @wraps(function)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> R | State[Any]:
        try:
            return limited(*args, **kwargs)
        except Postponed as postponed:
            return _retry_later(postponed)
        except DataBusy as taken:
            seconds = _LOCK_WAIT_SECONDS * random.uniform(1, 1 + 2 * JITTER)  # noqa: S311
            return _requeue(str(taken), seconds)
        except AttemptOver as over:
            return _requeue(str(over), _NEXT_ATTEMPT_SECONDS)
        except MemoryError as error:
            limit = os.environ.get(MEMORY_LIMIT)
            if limit is None:
                raise
            raise MemoryLimit(f"memory limit of {int(limit):,} MB exceeded at once") from error
        except Exception as error:
            mask_error(error)
            # Between subtasks: most often on the connection that holds a lock.
            part = unavailable_part(error)
            if part is None or not releases_slot():
                raise
            return _retry_later(Postponed(part, error))

    return attempt


def lock_wait_seconds() -> float | None:
    """How long to wait in place for a lock; None for as long as it takes.

    Only a first attempt waits, or waiting runs would fill the slots.
    """
    if not releases_slot():
        return None
    return _LOCK_WAIT_SECONDS if int(flow_run.run_count) <= 1 else 0.0


def has_next_attempt() -> bool:
    """Whether the next attempt does the rest; elsewhere the next run does."""
    return LEASE_TOKEN in os.environ


def _requeue(why: str, seconds: float) -> State[Any]:
    """Put the run back into its queue, where it uses no slot, no time limit and no retry."""
    get_run_logger().info("%s: waits for its turn", why)
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return Scheduled(name=AWAITING_TURN, scheduled_time=due, message=f"{why}; waits for its turn")


def _retry_later(postponed: Postponed) -> State[Any]:
    count = _count_retry(postponed.subtask)
    if count > RETRIES:
        raise postponed.error
    seconds = Settings().retry_delay_seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    # SQLAlchemy's own text contains the statement, which does not belong into a state.
    reason = getattr(postponed.error, "orig", None) or postponed.error
    message = masked(f"{postponed.subtask}: {reason}; retry {count} of {RETRIES}")
    get_run_logger().warning("%s, in %.0f s", message, seconds)
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return AwaitingRetry(scheduled_time=due, message=message)


def _count_retry(subtask: str) -> int:
    """The number of the subtask's next retry, from 1."""
    engine = guarded_engine(Settings())
    try:
        # It may be the database itself that is unavailable, and Prefect with it.
        return transient.until_available(engine, checkpoints.count_retry, task_id(), subtask)
    finally:
        engine.dispose()
