"""Error tracking: what made a task fail for good, sent to Sentry (or whatever speaks its protocol).

A client of its own for each report, flushed before it returns: a run may end in a forked process,
which runs no exit handlers, and nothing global survives a fork unharmed.
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

    Local variables and breadcrumbs stay here, and every secret of the settings is masked.
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
    """The parameters without whom a report was for: the domain says enough."""
    return {
        name: f"…@{str(value).rpartition('@')[2]}" if name == "email" and value else value
        for name, value in parameters.items()
    }


def _masked(event: Event, _hint: object) -> Event:
    masked: Event = masked_everywhere(event)
    return masked
