"""The clean-up as a worker runs it: what a dry run counts is what the real one removes."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.states import Completed
from sqlalchemy import Engine, create_engine, text

from autoindex.storage import bookings, deliveries
from deployments.postgres import EmbeddedPostgres
from tests.flows.conftest import Worker
from tests.storage.conftest import Scene

CLEAN_UP = "flows.clean_up.clean_up"
NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=40)


def old_run(worker: Worker, server: EmbeddedPostgres, deployment: UUID) -> None:
    """A run that ended long ago; its API takes no past instants, so its database is told."""
    run = worker.ask(deployment)
    worker.client.set_flow_run_state(run.id, Completed(), force=True)
    made = create_engine(server.url("prefect_quick"))
    with made.begin() as connection:
        ended = text("update flow_run set end_time = :at where id = :id")
        connection.execute(ended, {"at": LONG_AGO, "id": run.id})
    made.dispose()


def counts(result: dict[str, Any]) -> dict[str, int]:
    removed = {kind: one["deleted"] for kind, one in result["removed"].items()}
    return removed | result["files_removed"]


def test_a_dry_run_counts_what_the_real_run_removes(
    worker: Worker, engine: Engine, server: EmbeddedPostgres
) -> None:
    Scene(engine, worker.settings.data_dir / "archive").fill()
    deployment = worker.deploy(CLEAN_UP, "counted")
    for _ in range(3):
        old_run(worker, server, deployment)
    with engine.begin() as connection:
        deliveries.claim(connection, worker.ask(deployment).id, "ann@example.org", "<1@x>")
        connection.execute(text("update deliveries set claimed_at = :at"), {"at": LONG_AGO})
        bookings.book(connection, "long-ago", "a refresh")
        connection.execute(text("update bookings set booked_at = :at"), {"at": LONG_AGO})
        bookings.book(connection, "today", "a refresh")
    for name in ("tmp/left-behind", "reports/orphan.pdf", "reports/.writing-x"):
        file = worker.settings.data_dir / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))

    results = []
    for dry_run in (True, False, False):
        asked = worker.ask(deployment, older_than_days=30, dry_run=dry_run)
        ended = worker.run(asked)
        assert ended.state_name == "Completed"
        with engine.connect() as connection:
            query = text("select result from task_results where task_id = :id")
            results.append(connection.execute(query, {"id": asked.id}).scalar_one())
    dry, real, again = results
    assert counts(dry) == counts(real)
    assert counts(real) == {
        "prices": 200,
        "news": 100,
        "logs": 100,
        "runs": 3,
        "temporary": 2,
        "mails": 1,
        "bookings": 1,
        "reports": 1,
    }
    assert set(counts(again).values()) == {0}
    assert real["optimised"]["bytes_after"] > 0
    assert real["removed"]["prices"]["archived"] == 200
