"""What is stored of the reports that were made."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine

from autoindex.storage import stored_reports
from autoindex.storage.stored_reports import StoredReport

MADE = datetime(2022, 12, 28, 22, 5, tzinfo=UTC)
REPORT = StoredReport(
    task_id=UUID(int=1),
    report_type="weekly",
    format="pdf",
    period_start=date(2022, 12, 19),
    period_end=date(2022, 12, 23),
    path="00000000/weekly.pdf",
    media_type="application/pdf",
    size_bytes=81_234,
    sha256="ab" * 32,
    requested_by="ann",
    created_at=MADE,
)


def test_a_report_comes_back_as_it_was_recorded(engine: Engine) -> None:
    with engine.begin() as connection:
        stored_reports.record(connection, REPORT)
        assert stored_reports.find(connection, REPORT.task_id) == REPORT
        assert stored_reports.find(connection, UUID(int=2)) is None


def test_a_task_that_runs_twice_has_one_report(engine: Engine) -> None:
    again = replace(REPORT, size_bytes=9, requested_by=None, created_at=MADE + timedelta(hours=1))
    with engine.begin() as connection:
        stored_reports.record(connection, REPORT)
        stored_reports.record(connection, again)
        assert stored_reports.older_than(connection, MADE + timedelta(days=1), 9) == [again]


def test_old_reports_are_found_oldest_first_and_forgotten(engine: Engine) -> None:
    made = [
        replace(REPORT, task_id=UUID(int=number), created_at=MADE - timedelta(days=number))
        for number in range(4)
    ]
    with engine.begin() as connection:
        for report in made:
            stored_reports.record(connection, report)
        assert stored_reports.older_than(connection, MADE, 9) == [made[3], made[2], made[1]]
        assert stored_reports.count_before(connection, MADE) == 3
        assert stored_reports.older_than(connection, MADE, limit=1) == [made[3]]
        assert (
            stored_reports.forget(connection, [made[3].task_id, made[2].task_id, UUID(int=99)]) == 2
        )
        assert stored_reports.forget(connection, []) == 0
        assert stored_reports.older_than(connection, MADE, 9) == [made[1]]
