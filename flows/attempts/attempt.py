"""One attempt of a task: what its worker has said about it, and how it makes way for the next.

A worker of ours holds each attempt by a lease and keeps it within limits; it says so in the
environment. Elsewhere, as in a notebook or with Prefect's own worker, an attempt waits in place.
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

from autoindex.errors import AttemptOver, AutoindexError, MemoryLimit, TurnTaken
from autoindex.masking import mask_error, masked
from autoindex.settings import Settings
from autoindex.storage.postgres import transient
from autoindex.storage.runs import checkpoints
from flows.attempts import time_limit
from flows.attempts.runtime import guarded_engine, task_id
from flows.attempts.transient_errors import unavailable_part
from flows.attempts.worker_env import LEASE_TOKEN, MEMORY_LIMIT

RETRIES: Final = 3
# Spreads waits over 0.5 to 1.5 times the delay, so that runs that failed together part.
JITTER: Final = 0.5
AWAITING_TURN: Final = "AwaitingTurn"
# What a short task that came first takes.
_TURN_SECONDS: Final = 5.0
# Longer than whoever waits for its turn takes to look again, and to begin: they come in between.
_OTHERS_SECONDS: Final = 15.0
# To end a run and to begin it again takes about a second.
_WORTH_LEAVING_SECONDS: Final = 5.0

P = ParamSpec("P")
R = TypeVar("R")


class Postponed(AutoindexError):
    """A subtask is to be tried again later, by another attempt of its task."""

    def __init__(self, subtask: str, error: Exception) -> None:
        super().__init__(f"{subtask} is to be tried again: {error}")
        self.subtask = subtask
        self.error = error


def makes_way() -> bool:
    """Whether to wait for a retry is to end this attempt, so that it holds nobody up."""
    return LEASE_TOKEN in os.environ and Settings().retry_delay_seconds > _WORTH_LEAVING_SECONDS


def resumable(function: Callable[P, R]) -> Callable[P, R | State[Any]]:
    """Make a flow's function end as AwaitingRetry where a subtask is postponed.

    The run gives up its slot, and goes on under the same id when it is time. A subtask's retries
    are counted over all attempts; once they are spent its error is raised as it was. Where the
    soft time limit is reached, it ends as `SoftTimeLimit`.
    """

    within_its_time = time_limit.felt(function)

    @wraps(function)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> R | State[Any]:
        try:
            return within_its_time(*args, **kwargs)
        except Postponed as postponed:
            return _later(postponed)
        except TurnTaken as taken:
            seconds = _TURN_SECONDS * random.uniform(1, 1 + 2 * JITTER)  # noqa: S311
            return _at_its_turn(str(taken), seconds)
        except AttemptOver as over:
            return _at_its_turn(str(over), _OTHERS_SECONDS)
        except MemoryError as error:
            limit = os.environ.get(MEMORY_LIMIT)
            if limit is None:
                raise
            raise MemoryLimit(f"memory limit of {int(limit):,} MB exceeded at once") from error
        except Exception as error:
            mask_error(error)
            # Between subtasks: the connection that holds a lock, most often.
            part = unavailable_part(error)
            if part is None or not makes_way():
                raise
            return _later(Postponed(part, error))

    return attempt


def patience() -> float | None:
    """How many seconds to wait in place for what another task has; None for as long as it takes.

    Only a first attempt waits: many that look again and again would fill the slots with waiting.
    """
    if not makes_way():
        return None
    return _TURN_SECONDS if int(flow_run.run_count) <= 1 else 0.0


def goes_on() -> bool:
    """Whether another attempt does what does not fit this one; elsewhere the next run has to."""
    return LEASE_TOKEN in os.environ


def _at_its_turn(why: str, seconds: float) -> State[Any]:
    """The run waits in its queue: that costs it neither its slot, its time nor a retry."""
    get_run_logger().info("%s: waits for its turn", why)
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return Scheduled(name=AWAITING_TURN, scheduled_time=due, message=f"{why}; waits for its turn")


def _later(postponed: Postponed) -> State[Any]:
    count = _count(postponed.subtask)
    if count > RETRIES:
        raise postponed.error
    seconds = Settings().retry_delay_seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    # SQLAlchemy's own text goes on with the statement, which says nothing to who reads a state.
    reason = getattr(postponed.error, "orig", None) or postponed.error
    message = masked(f"{postponed.subtask}: {reason}; retry {count} of {RETRIES}")
    get_run_logger().warning("%s, in %.0f s", message, seconds)
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return AwaitingRetry(scheduled_time=due, message=message)


def _count(subtask: str) -> int:
    """Which retry of the subtask comes next, counting from 1."""
    engine = guarded_engine(Settings())
    try:
        # It may be the database itself that is unavailable, and Prefect with it.
        return transient.until_available(engine, checkpoints.count_retry, task_id(), subtask)
    finally:
        engine.dispose()
