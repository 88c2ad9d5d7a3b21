"""The one retry policy: transient errors, three more times, about a minute apart, with jitter."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from sqlalchemy.exc import InterfaceError, OperationalError

from autoindex.errors import TransientError
from autoindex.settings import Settings
from flows import telling

RETRIES: Final = 3
# Spreads waits over 0.5 to 1.5 times the delay, so that runs that failed together part.
JITTER: Final = 0.5
TRANSIENT: Final = (TransientError, OperationalError, InterfaceError, ConnectionError, TimeoutError)

P = ParamSpec("P")
R = TypeVar("R")


def retrying(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that is tried again after a transient error.

    Its result stays in memory: what must outlive a run is in PostgreSQL.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def step(*args: P.args, **kwargs: P.kwargs) -> R:
            telling.step(name)
            return function(*args, **kwargs)

        return task(
            name=name,
            retries=RETRIES,
            retry_delay_seconds=_delays,
            retry_jitter_factor=JITTER,
            retry_condition_fn=is_transient,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(step)

    return make


def is_transient(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Whether a task's failure is worth another try."""
    return isinstance(state.data, TRANSIENT)


def longest_delay() -> float:
    """The most seconds there may be between two attempts."""
    return Settings().retry_delay_seconds * (1 + JITTER)


def _delays(retries: int) -> list[float]:
    # Prefect asks when the task is defined, which is when a run's process starts.
    return [Settings().retry_delay_seconds] * retries
