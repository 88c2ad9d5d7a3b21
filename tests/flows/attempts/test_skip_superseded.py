"""Scheduled runs that come too late."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from tests.flows.conftest import Worker

CLEANUP = "flows.cleanup.cleanup"


def test_only_the_newest_due_run_of_a_schedule_does_the_work(
    worker: Worker, engine: Engine
) -> None:
    hours = timedelta(hours=1)
    deployment = worker.deploy(CLEANUP, "hourly", every=hours)
    older, newer, future = worker.scheduled(deployment, datetime.now(UTC) - 2 * hours)
    assert future.expected_start_time is not None
    assert future.expected_start_time > datetime.now(UTC)

    ended = worker.run(older)
    assert (ended.state_type, ended.state_name) == ("COMPLETED", "Skipped")
    with engine.connect() as connection:
        results = dict(connection.execute(text("select task_id, result from task_results")).all())
    due = f"{newer.expected_start_time:%Y-%m-%d %H:%M} UTC"
    assert results[older.id] == {"skipped": True, "successor": str(newer.id), "due": due}

    assert worker.run(newer).state_name == "Completed"


def test_a_run_that_was_asked_for_has_no_successor(worker: Worker) -> None:
    deployment = worker.deploy(CLEANUP, "asked-for", every=timedelta(hours=1))
    run = worker.ask(deployment)
    worker.scheduled(deployment, datetime.now(UTC) - timedelta(hours=2))
    assert worker.run(run).state_name == "Completed"
