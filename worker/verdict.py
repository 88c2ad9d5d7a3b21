"""Which state a run is to have after its process has ended without saying so itself."""

from datetime import UTC, datetime, timedelta
from typing import Final

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry, Cancelled, Failed

from autoindex.storage.runs.task_progress import Progress
from worker.parent_death import describe
from worker.run_limits import LIMIT_EXCEEDED, LOST, Cause, Ending

MOST_DEATHS: Final = 3
"""So often a run whose process died is sent round again."""
# What keeps a worker from starting a run, as a server that is restarted, may take a while to pass.
_UNSTARTED_SECONDS: Final = 5.0


def on(run: FlowRun, ending: Ending, deaths: int, progress: Progress | None) -> State:
    """The run's next state; `deaths` are those before this one, `progress` what it said last."""
    state, cause = run.state, ending.cause
    if cause is Cause.CANCELLED or (state is not None and state.is_cancelling()):
        return Cancelled(message=(state.message if state is not None else None) or "Cancelled")
    if cause is Cause.LIMIT:
        return Failed(name=LIMIT_EXCEEDED, message=_with_progress(ending.reason, progress))
    if cause is Cause.HANDED_BACK:
        return again("its worker was stopped; it goes on with the next one")
    died = _death(state, ending)
    if deaths < MOST_DEATHS:
        seconds = _UNSTARTED_SECONDS if cause is Cause.UNSTARTED else 0.0
        return again(f"{died}; attempt {deaths + 2} of {MOST_DEATHS + 1} follows", seconds)
    return Failed(
        name=LOST, message=f"{died}; {deaths} attempts before it were lost, too; given up"
    )


def again(message: str, seconds: float = 0.0) -> State:
    """To be run again in so many seconds."""
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return AwaitingRetry(scheduled_time=due, message=message)


def _death(state: State | None, ending: Ending) -> str:
    if state is not None and state.is_crashed():  # Prefect's engine, where it is interrupted
        return state.message or "it crashed"
    if ending.cause is Cause.LOST:
        return "its worker was not heard of any more"
    if ending.cause is Cause.UNSTARTED:
        return ending.reason
    return f"its process ended with {describe(ending.status)}"


def _with_progress(reason: str, found: Progress | None) -> str:
    """The reason with how far the run had come, where it has said."""
    if found is None or found.completed is None:
        return reason
    return f"{reason}, after {found.completed:,} of {found.total:,} {found.what}"
