"""The one retry policy: transient errors, three more times, about a minute apart, with jitter."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from autoindex.errors import TransientError
from autoindex.settings import Settings
from flows import telling, time_limit
from flows.attempt import DATABASE_AWAY, JITTER, RETRIES, Postponed, makes_way

TRANSIENT: Final = (TransientError, *DATABASE_AWAY, ConnectionError, TimeoutError)

P = ParamSpec("P")
R = TypeVar("R")


def retrying(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that is tried again after a transient error.

    Where the wait would hold a worker's slot for long, the whole run makes way for it: see
    `flows.attempt`. Its result stays in memory: what must outlive a run is in PostgreSQL.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def step(*args: P.args, **kwargs: P.kwargs) -> R:
            telling.step(name)
            try:
                return function(*args, **kwargs)
            except TRANSIENT as error:
                if makes_way() and not time_limit.is_reached():
                    raise Postponed(name, error) from error
                raise

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
    """Whether a task's failure is worth another try in the time that is left."""
    return isinstance(state.data, TRANSIENT) and not time_limit.is_reached()


def longest_delay() -> float:
    """The most seconds there may be between two attempts."""
    return Settings().retry_delay_seconds * (1 + JITTER)


def _delays(retries: int) -> list[float]:
    # Prefect asks when the task is defined, which is when a run's process starts.
    return [Settings().retry_delay_seconds] * retries
