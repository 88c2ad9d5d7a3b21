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
from flows.attempts.attempt import JITTER, RETRIES, Postponed, releases_slot
from flows.attempts.transient_errors import is_transient

P = ParamSpec("P")
R = TypeVar("R")


def retrying(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that is retried after a transient error.

    If the wait would hold a worker's slot for long, it ends the attempt instead: see
    `flows.attempts.attempt`. The task's result is not persisted by Prefect.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        @time_limit.enforced
        def reported(*args: P.args, **kwargs: P.kwargs) -> R:
            progress.step(name)
            return function(*args, **kwargs)

        @wraps(function)
        def step(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return reported(*args, **kwargs)
            except Exception as error:
                mask_error(error)
                if is_transient(error) and releases_slot() and not time_limit.is_reached():
                    raise Postponed(name, error) from error
                raise

        return task(
            name=name,
            retries=RETRIES,
            retry_delay_seconds=_delays,
            retry_jitter_factor=JITTER,
            retry_condition_fn=_is_retried,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(step)

    return make


def max_retry_delay_seconds() -> float:
    """The longest wait before a retry."""
    return Settings().retry_delay_seconds * (1 + JITTER)


def _is_retried(
    task: Task[Any, Any],  # noqa: ARG001
    run: TaskRun,  # noqa: ARG001
    state: State[Any],
) -> bool:
    return is_transient(state.data) and not time_limit.is_reached()


def _delays(retries: int) -> list[float]:
    # Called when the task is defined, which is when a run's process starts.
    return [Settings().retry_delay_seconds] * retries
