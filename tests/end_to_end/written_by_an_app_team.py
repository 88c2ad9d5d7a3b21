# ruff: noqa: T201
"""The main job as a program that knows the facade only by a client made from its contract.

Run with the address, a token and a file to write: prints what it found, as JSON.
"""

import json
import sys
import time
from pathlib import Path

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
    ComputeIndexRequest,
    ComputeResult,
    ComputeStatus,
    LevelPage,
    MetricsPage,
    Mode,
    ProblemDetails,
    ReadLevelsOrder,
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
from autoindex_client.types import File

ADDRESS, TOKEN, REPORT = sys.argv[1:]
ENDED = (Status.SUCCESS, Status.FAILURE, Status.REVOKED)


def finished(
    queued: object, client: AuthenticatedClient
) -> RefreshStatus | ComputeStatus | ReportStatus:
    """The task that was queued, when it has succeeded."""
    assert isinstance(queued, TaskQueued), queued
    for _ in range(1_200):
        task = read_task_status.sync(queued.task_id, client=client)
        assert isinstance(task, RefreshStatus | ComputeStatus | ReportStatus), task
        if task.status in ENDED:
            assert task.status is Status.SUCCESS, task
            return task
        time.sleep(0.1)
    raise TimeoutError(queued.task_id)


def main() -> None:
    """Refresh, compute, report, download, read."""
    with AuthenticatedClient(ADDRESS, TOKEN) as client:
        refresh = RefreshRequest(mode=Mode.SMART, symbols=["AAPL", "JPM"])
        first = start_refresh.sync(body=refresh, client=client, idempotency_key="monday")
        again = start_refresh.sync(body=refresh, client=client, idempotency_key="monday")
        assert isinstance(first, TaskQueued)
        assert isinstance(again, TaskQueued)
        assert first.task_id == again.task_id
        refreshed = finished(first, client)
        momentum = ComputeIndexRequest(strategy=Strategy.MOMENTUM)
        computed = finished(start_compute_index.sync(body=momentum, client=client), client)
        wanted = ReportRequest(report_type=ReportType.MONTHLY, format_=ReportFormat.PDF)
        report = finished(start_report.sync(body=wanted, client=client), client)
        assert isinstance(report.result, ReportResult)
        file = download_report.sync(report.task_id, client=client)
        assert isinstance(file, File), file
        Path(REPORT).write_bytes(file.payload.read())

        newest = ReadLevelsOrder.DESC
        levels = read_levels.sync(
            client=client, strategy=Strategy.MOMENTUM, order=newest, per_page=2
        )
        assert isinstance(levels, LevelPage), levels
        metrics = read_metrics.sync(client=client, strategy=Strategy.MOMENTUM)
        assert isinstance(metrics, MetricsPage), metrics
        assert isinstance(read_active_tasks.sync(client=client), ActiveTasks)
        tasks = list_tasks.sync(client=client, per_page=100)
        assert isinstance(tasks, TaskList)
        assert report.task_id in [task.task_id for task in tasks.tasks]
        too_late = cancel_task.sync(report.task_id, client=client)
        assert isinstance(too_late, ProblemDetails)
        assert isinstance(refreshed.result, RefreshResult)
        assert isinstance(computed.result, ComputeResult)
        print(
            json.dumps(
                {
                    "refreshed": refreshed.result.symbols_processed,
                    "computed": computed.result.last_session.isoformat(),
                    "newest": [level.session.isoformat() for level in levels.levels],
                    "metrics": metrics.total,
                    "too_late": [too_late.status, too_late.type_],
                }
            )
        )


if __name__ == "__main__":
    main()
