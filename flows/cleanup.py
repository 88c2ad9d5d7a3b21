"""Cleanup: archive, delete, remove finished runs and reports, clear temporary files, optimise."""

import time
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

from prefect import State, flow, get_run_logger
from pydantic import Field

from autoindex.requests import (
    LONGEST_KEPT_DAYS,
    SHORTEST_KEPT_DAYS,
    ArchivedType,
    CleanupRequest,
    CleanupType,
    CleanupTypes,
)
from autoindex.storage import versions
from autoindex.storage.retention import deletion, maintenance
from autoindex.storage.runs import checkpoints
from flows.attempts import skip_superseded
from flows.attempts.attempt import resumable
from flows.attempts.outcome import Progress, finish, invalidate_cache
from flows.attempts.progress import step
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime, opened
from flows.visibility import failures, finished_runs, run_names

# Every run that writes a file has ended by then.
TEMPORARY_FILES_KEPT: Final = timedelta(days=1)


@flow(
    name="cleanup",
    flow_run_name=run_names.cleanup,
    on_failure=[failures.track],
)
@resumable
def cleanup(
    older_than_days: Annotated[int, Field(ge=SHORTEST_KEPT_DAYS, le=LONGEST_KEPT_DAYS)] = 365,
    types: CleanupTypes = ["prices", "news", "logs"],  # noqa: B006 - shown in the UI, not changed
    dry_run: bool = True,
) -> dict[str, Any] | State[Any]:
    """Archive and delete old records; a dry run only counts them."""
    request = CleanupRequest(older_than_days=older_than_days, types=types, dry_run=dry_run)
    with opened() as run:
        if (end := skip_superseded.skip(run, "cleanup")) is not None:
            return end
        began = time.monotonic()
        progress = Progress("cleanup", len(request.types) + 1)
        removed = resume(run)
        for done, kind in enumerate(request.types):
            if kind not in removed:
                removed[kind] = _remove(run, request, kind)
                store_progress(run, removed)
            if kind == "logs" and "runs" not in removed:
                removed |= remove_finished_runs(run, request)
                store_progress(run, removed)
            progress.update(done + 1, "record types")
        result: dict[str, Any] = {"dry_run": request.dry_run, "removed": removed}
        result["temporary_files"] = clear_temporary(run, request)
        if not request.dry_run:
            result["cache_entries_evicted"] = invalidate_cache(run, versions.PRICES)
            result["optimised"] = optimise(run)
        progress.update(len(request.types) + 1, "record types")
        result["duration_seconds"] = round(time.monotonic() - began, 3)
        return finish(run, "cleanup", result)


def _remove(run: Runtime, request: CleanupRequest, kind: CleanupType) -> dict[str, Any]:
    if kind == "reports":
        return remove_reports(run, request)
    return archive_and_delete(run, request, kind)


@retrying("resume")
def resume(run: Runtime) -> dict[str, Any]:
    """What earlier attempts of this task have removed, by record type."""
    with run.engine.connect() as connection:
        return checkpoints.load(connection, run.task_id)


@retrying("store progress")
def store_progress(run: Runtime, removed: dict[str, Any]) -> None:
    """Store what is removed so far, for the next attempt if there is one."""
    with run.engine.begin() as connection:
        checkpoints.store(connection, run.task_id, removed)


@retrying("archive and delete")
def archive_and_delete(run: Runtime, request: CleanupRequest, kind: ArchivedType) -> dict[str, Any]:
    """Archive one type's old records, verify the archive, delete them; or only count them."""
    day = _keep_from(run, request, kind)
    (removed,) = deletion.clean(
        run.engine,
        types=[kind],
        older_than=day,
        archive_url=run.settings.archive,
        dry_run=request.dry_run,
        began=lambda month: step(f"archive and delete {kind} of {month:%Y-%m}"),
    )
    _log(request, "%d %s older than %s", removed.deleted, kind, day)
    return {
        "older_than": day.isoformat(),
        "archived": removed.archived,
        "deleted": removed.deleted,
    }


def _keep_from(run: Runtime, request: CleanupRequest, kind: ArchivedType) -> date:
    # The age of prices and news is by the data's clock, that of task results by the wall clock.
    now = datetime.now(UTC) if kind == "logs" else run.now
    return (now - timedelta(days=request.older_than_days)).date()


@retrying("remove finished runs")
def remove_finished_runs(run: Runtime, request: CleanupRequest) -> dict[str, Any]:
    """Remove old finished runs of our deployments, and the records of runs that are gone.

    As long as Prefect keeps a run, its Idempotency-Key and the claims of its mails are kept.
    """
    before, dry = _instant(request), request.dry_run
    runs = finished_runs.count(before) if dry else finished_runs.remove(before)
    with_id, with_key = finished_runs.kept_ids(before), finished_runs.kept_keys(before)
    mails = maintenance.clear_mails(run.engine, before, with_id, dry_run=dry)
    keys = maintenance.clear_bookings(run.engine, before, with_key, dry_run=dry)
    told = maintenance.clear_webhooks(run.engine, before, dry_run=dry)
    _log(request, "%d finished runs, %d idempotency keys, %d records of mails", runs, keys, mails)
    _log(request, "%d deliveries of webhooks", told)
    deleted = {"runs": runs, "idempotency_keys": keys, "mails": mails, "webhook_deliveries": told}
    day = before.date().isoformat()
    return {name: {"older_than": day, "deleted": count} for name, count in deleted.items()}


@retrying("remove reports")
def remove_reports(run: Runtime, request: CleanupRequest) -> dict[str, Any]:
    """Remove old reports, files and records."""
    before = _instant(request)
    count = maintenance.clear_reports(run.engine, run.settings, before, dry_run=request.dry_run)
    _log(request, "%d reports older than %s", count, before.date())
    return {"older_than": before.date().isoformat(), "deleted": count}


@retrying("clear temporary files")
def clear_temporary(run: Runtime, request: CleanupRequest) -> int:
    """Remove the unfinished files of runs that died."""
    died = datetime.now(UTC) - TEMPORARY_FILES_KEPT
    count = maintenance.clear_temporary(run.settings, died, dry_run=request.dry_run)
    _log(request, "%d temporary files", count)
    return count


def _instant(request: CleanupRequest) -> datetime:
    return datetime.now(UTC) - timedelta(days=request.older_than_days)


def _log(request: CleanupRequest, what: str, *counts: object) -> None:
    verb = "would remove" if request.dry_run else "removed"
    get_run_logger().info(f"{verb} {what}", *counts)


@retrying("optimise")
def optimise(run: Runtime) -> dict[str, Any]:
    """VACUUM and ANALYZE; the space that was freed."""
    return asdict(maintenance.optimise(run.engine))
