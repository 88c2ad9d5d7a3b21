"""The task status of each of Prefect's states."""

import re
from collections.abc import Mapping
from typing import Final

from api.tasks.runner import Status
from autoindex import errors

AWAITING_RETRY: Final = "AwaitingRetry"

# https://docs.prefect.io/v3/concepts/states: the types are fixed, the names are not.
_STATUS: Final[Mapping[str, Status]] = {
    "SCHEDULED": Status.PENDING,
    "PENDING": Status.PENDING,
    "PAUSED": Status.PENDING,
    "RUNNING": Status.STARTED,
    "COMPLETED": Status.SUCCESS,
    "FAILED": Status.FAILURE,
    "CRASHED": Status.FAILURE,
    "CANCELLING": Status.REVOKED,
    "CANCELLED": Status.REVOKED,
}
OPEN: Final = frozenset({"SCHEDULED", "PENDING", "PAUSED", "RUNNING"})
TERMINAL: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})

_EXCEPTION: Final = re.compile(
    r"^(?:Flow run encountered an exception:?\s+)?(?P<error>[A-Za-z_]\w*): (?P<text>.*)$", re.DOTALL
)
_EXCEPTION_NAME: Final = re.compile(r"\b\w*(?:Error|Exception|Traceback)\b")
_SEE_LOG: Final = "see its log in Prefect"


def status(state_type: str, state_name: str) -> Status:
    """Map a run's state."""
    return Status.RETRY if state_name == AWAITING_RETRY else _STATUS[state_type]


def types_of(wanted: Status) -> list[str]:
    """The state types that mean a status."""
    return [state_type for state_type, meaning in _STATUS.items() if meaning is wanted]


def error(state_type: str, message: str | None) -> str | None:
    """Why a run failed, in one sentence; None where it did not.

    Only our own errors are shown with their text; other errors only with their class.
    """
    if state_type not in ("FAILED", "CRASHED"):
        return None
    raised = _EXCEPTION.match(message or "")
    if raised is None:
        return _without_exception(state_type, message)
    if _is_ours(raised["error"]):
        return raised["text"].strip()
    return f"the task failed unexpectedly ({raised['error']}); {_SEE_LOG}"


def _without_exception(state_type: str, message: str | None) -> str:
    first_line = (message or "").strip().partition("\n")[0]
    if first_line and not _EXCEPTION_NAME.search(first_line):
        return first_line
    if state_type == "CRASHED":
        return f"the task's process ended before the task did; {_SEE_LOG}"
    return f"the task failed; {_SEE_LOG}"


def _is_ours(name: str) -> bool:
    found = getattr(errors, name, None)
    return isinstance(found, type) and issubclass(found, errors.AutoindexError)
