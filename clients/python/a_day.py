"""An app's day, with a client made from the contract: python a_day.py ADDRESS TOKEN FILE."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from autoindex_client import AuthenticatedClient
from autoindex_client.api.background_tasks import (
    cancel_task,
    list_tasks,
    read_active_tasks,
    read_task_status,
    start_compute_index,
    start_refresh,
    start_report,
)
from autoindex_client.api.index import read_levels, read_metrics
from autoindex_client.api.reports import download_report
from autoindex_client.models import (
    ActiveTasks,
    CleanupStatus,
    ComputeIndexRequest,
    ComputeResult,
    ComputeStatus,
    LevelPage,
    MetricsPage,
    Mode,
    Order,
    ProblemDetails,
    RefreshRequest,
    RefreshResult,
    RefreshStatus,
    ReportFormat,
    ReportRequest,
    ReportResult,
    ReportStatus,
    ReportType,
    Status,
    Strategy,
    TaskList,
    TaskQueued,
)
from autoindex_client.types import UNSET, File, Unset

TaskStatus = RefreshStatus | ComputeStatus | ReportStatus | CleanupStatus
T = TypeVar("T")


def found(answer: object, kind: type[T]) -> T:
    """An answer of this type; a problem is raised, as its sentence."""
    if not isinstance(answer, kind):
        raise TypeError(answer.detail if isinstance(answer, ProblemDetails) else repr(answer))
    return answer


def finished(client: AuthenticatedClient, task_id: UUID) -> TaskStatus:
    """The task when it has succeeded, asked for as often as the facade advises."""
    while True:
        answer = read_task_status.sync_detailed(task_id, client=client)
        task = answer.parsed
        if isinstance(task, TaskStatus):
            print(task.kind, task.status, progress(task), file=sys.stderr)
            if task.status is Status.SUCCESS:
                return task
        if "Retry-After" not in answer.headers:
            raise RuntimeError(task)
        time.sleep(int(answer.headers["Retry-After"]))


def progress(task: TaskStatus) -> str:
    """How far a task is."""
    if task.progress is None:
        return ""
    return f"{task.progress.completed} of {task.progress.total} {task.progress.what}"


def every_task(client: AuthenticatedClient) -> list[UUID]:
    """The tasks of the list; each comes once, though others are added while it is read."""
    listed: list[UUID] = []
    cursor: str | Unset = UNSET
    while True:
        answer = list_tasks.sync_detailed(client=client, per_page=2, cursor=cursor)
        listed += [task.task_id for task in found(answer.parsed, TaskList).tasks]
        if "link" not in answer.headers:
            return listed
        url = answer.headers["link"].partition(">")[0].removeprefix("<")
        cursor = parse_qs(urlsplit(url).query)["cursor"][0]


def main(address: str, token: str, file: str) -> None:
    """Refresh, compute, read, report, download, cancel."""
    with AuthenticatedClient(address, token) as client:
        wanted = RefreshRequest(mode=Mode.SMART, symbols=["AAPL", "JPM"])
        # Sent again with the same key, it has one task.
        first, again = (
            found(
                start_refresh.sync(body=wanted, client=client, idempotency_key="monday"), TaskQueued
            )
            for _ in range(2)
        )
        refreshed = found(finished(client, first.task_id).result, RefreshResult)

        momentum = ComputeIndexRequest(strategy=Strategy.MOMENTUM)
        queued = found(start_compute_index.sync(body=momentum, client=client), TaskQueued)
        computed = found(finished(client, queued.task_id).result, ComputeResult)

        order = Order.DESC
        answer = read_levels.sync(
            client=client, strategy=Strategy.MOMENTUM, order=order, per_page=2
        )
        levels = found(answer, LevelPage).levels
        metrics = found(read_metrics.sync(client=client, strategy=Strategy.MOMENTUM), MetricsPage)

        monthly = ReportRequest(report_type=ReportType.MONTHLY, format_=ReportFormat.PDF)
        report = found(start_report.sync(body=monthly, client=client), TaskQueued)
        reported = found(finished(client, report.task_id).result, ReportResult)
        downloaded = found(download_report.sync(report.task_id, client=client), File)
        Path(file).write_bytes(downloaded.payload.read())

        # A task for tomorrow, which nobody needs after all.
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        body = ComputeIndexRequest(strategy=Strategy.MOMENTUM, run_at=tomorrow)
        later = found(start_compute_index.sync(body=body, client=client), TaskQueued)
        cancelled = found(cancel_task.sync(later.task_id, client=client), TaskQueued)
        too_late = found(cancel_task.sync(report.task_id, client=client), ProblemDetails)

        active = found(read_active_tasks.sync(client=client), ActiveTasks)
        listed = every_task(client)
        print(
            json.dumps(
                {
                    "same": first.task_id == again.task_id,
                    "refreshed": refreshed.symbols_processed,
                    "computed": computed.last_session.isoformat(),
                    "newest": [level.session.isoformat() for level in levels],
                    "metrics": metrics.total,
                    "report": reported.media_type,
                    "online": active.error is UNSET,
                    "cancelled": cancelled.status,
                    "too_late": [too_late.status, too_late.type_],
                    "listed": len(set(listed)) == len(listed) and report.task_id in listed,
                }
            )
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
