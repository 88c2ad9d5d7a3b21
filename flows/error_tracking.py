"""Error tracking: what made a task fail for good, sent to Sentry (or whatever speaks its protocol).

A client of its own for each report, flushed before it returns: a run may end in a forked process,
which runs no exit handlers, and nothing global survives a fork unharmed.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import sentry_sdk
from pydantic import SecretStr
from sentry_sdk.types import Event

from autoindex.settings import Settings

FLUSH_SECONDS: Final = 5.0
_HIDDEN: Final = "[hidden]"
# Parts of a URL or token this short would hide half of every text.
_SHORTEST_SECRET: Final = 6


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

    Local variables and breadcrumbs stay here, and every secret of the settings is blotted out.
    """
    if settings.sentry_dsn is None:
        return None
    hidden = _secrets(settings)
    client = sentry_sdk.Client(
        dsn=settings.sentry_dsn.get_secret_value(),
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        include_source_context=True,
        max_breadcrumbs=0,
        before_send=lambda event, _hint: _blotted(event, hidden),
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


def _secrets(settings: Settings) -> list[str]:
    written = [value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)]
    passwords = [urlsplit(one).password or "" for one in written if "://" in one]
    # The longest first: one secret may be a part of another.
    known = {one for one in (*written, *passwords) if len(one) >= _SHORTEST_SECRET}
    return sorted(known, key=len, reverse=True)


def _blotted(event: Event, hidden: list[str]) -> Event:
    blotted: Event = _blot(event, hidden)
    return blotted


def _blot(value: Any, hidden: list[str]) -> Any:
    if isinstance(value, str):
        for one in hidden:
            value = value.replace(one, _HIDDEN)
        return value
    if isinstance(value, Mapping):
        return {name: _blot(one, hidden) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_blot(one, hidden) for one in value]
    return value
