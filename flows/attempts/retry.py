"""The one retry policy: transient errors, three more times, about a minute apart, with jitter."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from autoindex.masking import mask_error
from autoindex.settings import Settings
from flows.attempts import progress, time_limit
from flows.attempts.attempt import JITTER, RETRIES, Postponed, makes_way
from flows.attempts.transient_errors import is_transient

P = ParamSpec("P")
R = TypeVar("R")


def retrying(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that is tried again after a transient error.

    Where the wait would hold a worker's slot for long, the whole run makes way for it: see
    `flows.attempts.attempt`. Its result stays in memory: what must outlive a run is in PostgreSQL.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        @time_limit.felt
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            progress.step(name)
            return function(*args, **kwargs)

        @wraps(function)
        def step(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return told(*args, **kwargs)
            except Exception as error:
                mask_error(error)
                if is_transient(error) and makes_way() and not time_limit.is_reached():
                    raise Postponed(name, error) from error
                raise

        return task(
            name=name,
            retries=RETRIES,
            retry_delay_seconds=_delays,
            retry_jitter_factor=JITTER,
            retry_condition_fn=_is_worth_another_try,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(step)

    return make


def longest_delay() -> float:
    """The most seconds there may be between two attempts."""
    return Settings().retry_delay_seconds * (1 + JITTER)


def _is_worth_another_try(
    task: Task[Any, Any],  # noqa: ARG001
    run: TaskRun,  # noqa: ARG001
    state: State[Any],
) -> bool:
    return is_transient(state.data) and not time_limit.is_reached()


def _delays(retries: int) -> list[float]:
    # Prefect asks when the task is defined, which is when a run's process starts.
    return [Settings().retry_delay_seconds] * retries
