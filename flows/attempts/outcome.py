"""A flow run's progress and result, for the facade and for the Prefect UI."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.runtime import flow_run

from autoindex.masking import masked_everywhere
from autoindex.storage import versions
from autoindex.storage.runs import results
from flows.attempts import progress
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime

_SECONDS_BETWEEN_UPDATES: Final = 0.5
# What a dry run counts has not happened. For programs the names stay.
_IN_DRY_RUN: Final = {"removed": "would remove", "deleted": "would delete"}


class Progress:
    """How much of a run is done, on its page in Prefect and for the facade."""

    def __init__(self, kind: str, total: int) -> None:
        self._total = max(total, 1)
        self._updated = time.monotonic()
        self._artifact: UUID = create_progress_artifact(0.0, key=f"{kind}-progress")  # type: ignore[assignment]

    def update(self, completed: int, what: str) -> None:
        """Show that `completed` of the total are done, at most every half second."""
        passed = time.monotonic() - self._updated
        if completed >= self._total or passed >= _SECONDS_BETWEEN_UPDATES:
            self.show(completed, what)

    def show(self, completed: int, what: str) -> None:
        """Show it now."""
        self._updated = time.monotonic()
        progress.count(completed, self._total, what)
        percent = 100 * min(1.0, completed / self._total)
        text = f"{what}: {completed} of {self._total}"
        update_progress_artifact(self._artifact, percent, description=text)


@retrying("store result")
def store_result(run: Runtime, kind: str, result: Mapping[str, Any]) -> None:
    """Store the result for the facade, for as long as results are kept."""
    # By the wall clock, not by the data's.
    lifetime = timedelta(hours=run.settings.result_ttl_hours)
    with run.engine.begin() as connection:
        results.store(connection, run.task_id, kind, result, datetime.now(UTC), lifetime)


@retrying("invalidate cache")
def invalidate_cache(run: Runtime, name: str) -> int:
    """Evict the cache entries of older versions of the data; how many."""
    with run.engine.connect() as connection:
        version = versions.current(connection, name)
    return run.cache.evict_superseded(name, version)


def finish(run: Runtime, kind: str, result: dict[str, Any]) -> dict[str, Any]:
    """Store a run's result, show it on the run's page, and return it."""
    result = masked_everywhere(result)
    store_result(run, kind, result)
    create_markdown_artifact(
        _markdown(kind, result), key=f"{kind}-result", description=flow_run.name
    )
    return result


def _markdown(kind: str, result: Mapping[str, Any]) -> str:
    if result.get("dry_run"):
        result = _planned(result)
    rows = "\n".join(f"| {_label(name)} | {_cell(value)} |" for name, value in result.items())
    return f"# {kind.capitalize()}: {flow_run.name}\n\n| | |\n|---|---|\n{rows}\n"


def _planned(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {_IN_DRY_RUN.get(name, name): _planned(below) for name, below in value.items()}


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"{_label(str(k))}: {_cell(v)}" for k, v in value.items()) or "–"
    if isinstance(value, list | tuple):
        return "<br>".join(_cell(item) for item in value) or "–"
    if isinstance(value, float):
        return f"{value:,.4f}"
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _label(name: str) -> str:
    return name.replace("_", " ")
