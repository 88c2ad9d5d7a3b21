"""Clean-up: archive, delete, clear temporary files, remove finished runs, optimise."""

import time
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

from prefect import State, flow, get_run_logger
from pydantic import Field

from autoindex.requests import (
    LONGEST_KEPT_DAYS,
    SHORTEST_KEPT_DAYS,
    CleanupRequest,
    CleanupType,
)
from autoindex.storage import checkpoints, cleanup, maintenance, versions
from flows import failures, finished_runs, names, succession
from flows.attempt import resumable
from flows.outcome import Progress, finish, invalidate_cache
from flows.retry import retrying
from flows.runtime import Runtime, opened

# A run that writes a file has ended long before.
TEMPORARY_FILES_KEPT: Final = timedelta(days=1)


@flow(
    name="clean-up",
    flow_run_name=names.clean_up,
    on_failure=[failures.track],
)
@resumable
def clean_up(
    older_than_days: Annotated[int, Field(ge=SHORTEST_KEPT_DAYS, le=LONGEST_KEPT_DAYS)] = 365,
    types: list[CleanupType] = ["prices", "news", "logs"],  # noqa: B006 - shown in the UI, not changed
    dry_run: bool = True,
) -> dict[str, Any] | State[Any]:
    """Archive and delete what is past its keep-by date; a dry run only counts."""
    request = CleanupRequest(older_than_days=older_than_days, types=types, dry_run=dry_run)
    with opened() as run:
        if (end := succession.skipped(run, "cleanup")) is not None:
            return end
        began = time.monotonic()
        progress = Progress("cleanup", len(request.types) + 1)
        removed = resume(run)
        for done, kind in enumerate(request.types):
            if kind not in removed:
                removed[kind] = archive_and_delete(run, request, kind)
                note(run, removed)
            progress.update(done + 1, "record types")
        result: dict[str, Any] = {"dry_run": request.dry_run, "removed": removed}
        if "logs" in request.types:
            removed["runs"] = remove_finished_runs(request)
        result["files_removed"] = clear_files(run, request)
        if not request.dry_run:
            result["cache_entries_evicted"] = invalidate_cache(run, versions.PRICES)
            result["optimised"] = optimise(run)
        progress.update(len(request.types) + 1, "record types")
        result["duration_seconds"] = round(time.monotonic() - began, 3)
        return finish(run, "cleanup", result)


@retrying("resume")
def resume(run: Runtime) -> dict[str, Any]:
    """What earlier attempts of this task have removed, by record type."""
    with run.engine.connect() as connection:
        return checkpoints.load(connection, run.task_id)


@retrying("note")
def note(run: Runtime, removed: dict[str, Any]) -> None:
    """Keep what is removed so far, for an attempt that may have to go on."""
    with run.engine.begin() as connection:
        checkpoints.store(connection, run.task_id, removed)


@retrying("archive and delete")
def archive_and_delete(run: Runtime, request: CleanupRequest, kind: CleanupType) -> dict[str, Any]:
    """Archive one type's old records, read the archive back, delete them; or only count them."""
    day = _keep_from(run, request, kind)
    (removed,) = cleanup.clean(
        run.engine,
        types=[kind],
        older_than=day,
        archive_url=run.settings.archive,
        dry_run=request.dry_run,
    )
    verb = "would delete" if request.dry_run else "deleted"
    get_run_logger().info("%s %d %s older than %s", verb, removed.deleted, kind, day)
    return {
        "older_than": day.isoformat(),
        "archived": removed.archived,
        "deleted": removed.deleted,
    }


def _keep_from(run: Runtime, request: CleanupRequest, kind: CleanupType) -> date:
    # Prices and news are as old as the data's clock says; task results as the wall clock says.
    now = datetime.now(UTC) if kind == "logs" else run.now
    return (now - timedelta(days=request.older_than_days)).date()


@retrying("remove finished runs")
def remove_finished_runs(request: CleanupRequest) -> dict[str, Any]:
    """Remove runs of our deployments that ended long ago, through Prefect's API."""
    before = datetime.now(UTC) - timedelta(days=request.older_than_days)
    count = finished_runs.count(before) if request.dry_run else finished_runs.remove(before)
    return {"older_than": before.date().isoformat(), "deleted": count}


@retrying("clear files")
def clear_files(run: Runtime, request: CleanupRequest) -> dict[str, int]:
    """Remove old reports, what was noted of mails and requests, and what runs that died left."""
    now = datetime.now(UTC)
    day, died = now - timedelta(days=request.older_than_days), now - TEMPORARY_FILES_KEPT
    dry = request.dry_run
    cleared = {
        "temporary": maintenance.clear_temporary(run.settings, died, dry_run=dry),
        "mails": maintenance.clear_mails(run.engine, day, dry_run=dry),
        "bookings": maintenance.clear_bookings(run.engine, day, dry_run=dry),
        "reports": maintenance.clear_reports(run.engine, run.settings, day, dry_run=dry),
    }
    verb = "would remove" if dry else "removed"
    get_run_logger().info(
        "%s %d temporary files, %d reports, %d records of mails",
        verb,
        cleared["temporary"],
        cleared["reports"],
        cleared["mails"],
    )
    return cleared


@retrying("optimise")
def optimise(run: Runtime) -> dict[str, Any]:
    """VACUUM and ANALYZE, with the space that was won."""
    return asdict(maintenance.optimise(run.engine))
