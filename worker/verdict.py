"""Which state a run is to have after its process has ended without saying so itself."""

from datetime import UTC, datetime, timedelta
from typing import Final

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry, Cancelled, Failed

from autoindex.storage.runs.task_progress import Progress
from worker.parent_death import describe
from worker.run_limits import LIMIT_EXCEEDED, LOST, Exit, ExitCause

MAX_RESTARTS: Final = 3
"""So often a run whose process died is sent round again."""
# What keeps a worker from starting a run, as a server that is restarted, may take a while to pass.
_NOT_STARTED_SECONDS: Final = 5.0


def on(run: FlowRun, exited: Exit, deaths: int, progress: Progress | None) -> State:
    """The run's next state; `deaths` are those before this one, `progress` what it said last."""
    state, cause = run.state, exited.cause
    if cause is ExitCause.CANCELLED or (state is not None and state.is_cancelling()):
        return Cancelled(message=(state.message if state is not None else None) or "Cancelled")
    if cause is ExitCause.LIMIT:
        return Failed(name=LIMIT_EXCEEDED, message=_with_progress(exited.reason, progress))
    if cause is ExitCause.HANDED_BACK:
        return again("its worker was stopped; it goes on with the next one")
    died = _death(state, exited)
    if deaths < MAX_RESTARTS:
        seconds = _NOT_STARTED_SECONDS if cause is ExitCause.NOT_STARTED else 0.0
        return again(f"{died}; attempt {deaths + 2} of {MAX_RESTARTS + 1} follows", seconds)
    return Failed(
        name=LOST, message=f"{died}; {deaths} attempts before it were lost, too; given up"
    )


def again(message: str, seconds: float = 0.0) -> State:
    """To be run again in so many seconds."""
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return AwaitingRetry(scheduled_time=due, message=message)


def _death(state: State | None, exited: Exit) -> str:
    if state is not None and state.is_crashed():  # Prefect's engine, where it is interrupted
        return state.message or "it crashed"
    if exited.cause is ExitCause.LOST:
        return "its worker was not heard of any more"
    if exited.cause is ExitCause.NOT_STARTED:
        return exited.reason
    return f"its process ended with {describe(exited.status)}"


def _with_progress(reason: str, found: Progress | None) -> str:
    """The reason with how far the run had come, where it has said."""
    if found is None or found.completed is None:
        return reason
    return f"{reason}, after {found.completed:,} of {found.total:,} {found.what}"
