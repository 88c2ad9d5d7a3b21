"""Error tracking: final failures of tasks, sent to Sentry or a server with its protocol.

Each report has a client of its own, and is flushed before it returns: a forked process runs no exit
handlers, and a global client does not survive a fork.
"""

from collections.abc import Mapping
from typing import Any, Final

import sentry_sdk
from sentry_sdk.types import Event

from autoindex.masking import masked_everywhere
from autoindex.settings import Settings

FLUSH_SECONDS: Final = 5.0


def report(
    settings: Settings,
    *,
    task_id: str,
    kind: str,
    parameters: Mapping[str, Any],
    reason: str,
    error: BaseException | None,
) -> str | None:
    """Send one failure; the id of the event, or None where error tracking is off.

    Local variables and breadcrumbs are not sent, and all secrets of the settings are masked.
    """
    if settings.sentry_dsn is None:
        return None
    client = sentry_sdk.Client(
        dsn=settings.sentry_dsn.get_secret_value(),
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        include_source_context=True,
        max_breadcrumbs=0,
        before_send=_masked,
    )
    try:
        with sentry_sdk.new_scope() as scope:
            scope.set_client(client)
            scope.set_tags({"task_id": task_id, "kind": kind})
            shown = _shown(parameters)
            scope.set_context("task", {"id": task_id, "kind": kind, "parameters": shown})
            if error is None:
                return scope.capture_message(reason, level="error")
            return scope.capture_exception(error)
    finally:
        client.close(timeout=FLUSH_SECONDS)


def _shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, of a mail address only the domain."""
    return {
        name: f"…@{str(value).rpartition('@')[2]}" if name == "email" and value else value
        for name, value in parameters.items()
    }


def _masked(event: Event, _hint: object) -> Event:
    masked: Event = masked_everywhere(event)
    return masked
