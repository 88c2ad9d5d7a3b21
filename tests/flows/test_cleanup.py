"""The cleanup as a worker runs it: a type removes what it says, and a dry run counts just that."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed
from sqlalchemy import Connection, Engine, create_engine, func, select, text

from autoindex.storage import deliveries, stored_reports, tables
from autoindex.storage.audit import Author
from autoindex.storage.runs import checkpoints, idempotency, leases, task_progress
from autoindex.storage.stored_reports import StoredReport
from autoindex.storage.webhooks import endpoints, outbox
from autoindex.webhooks import signature
from autoindex.webhooks.events import Event
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.flows.conftest import Worker
from tests.storage.conftest import Scene

CLEANUP = "flows.cleanup.cleanup"
NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=40)
EVERY = ("prices", "news", "logs", "reports")
STRANGERS = ("tmp/important.txt", "reports/annual-2020.pdf", "reports/by-hand/report.pdf")
# What each type removes: rows of tables, files, and runs that Prefect keeps.
REMOVES: dict[str, dict[str, int]] = {
    "prices": {"prices": 200},
    "news": {"news_articles": 100},
    "logs": {
        "task_results": 100,
        "runs": 2,
        "bookings": 3,
        "deliveries": 2,
        "webhook_deliveries": 1,
    },
    "reports": {"reports": 1, "report files": 2},
}
COUNTED = {
    "prices": "prices",
    "news": "news_articles",
    "logs": "task_results",
    "runs": "runs",
    "idempotency_keys": "bookings",
    "mails": "deliveries",
    "webhook_deliveries": "webhook_deliveries",
    "reports": "report files",
}


@dataclass
class Old:
    """A database, folders and a Prefect server full of what is forty days old."""

    worker: Worker
    engine: Engine
    prefect: Engine

    def __post_init__(self) -> None:
        self.scene = Scene(self.engine, self.worker.settings.data_dir / "archive")
        self.scene.fill()
        self.deployment = self.worker.deploy(CLEANUP, "counted")
        # Two that have ended, and one that waits until today for its retry.
        self.runs = [self._run(ended=number < 2) for number in range(3)]
        for run in self.runs:
            self._noted(run)
        # A request that died before its run was made: the key is of no use to anybody.
        with self.engine.begin() as connection:
            idempotency.book(connection, "no-run", "a refresh")
            connection.execute(tables.bookings.update().values(booked_at=LONG_AGO))
            connection.execute(tables.deliveries.update().values(claimed_at=LONG_AGO))
            idempotency.book(connection, "today", "a refresh")
            self._told(connection)
        for name in STRANGERS:
            self._file(name)
        self._file(f"reports/{uuid4()}/autoindex-composite-weekly-2022-12-23.pdf")

    def _told(self, connection: Connection) -> None:
        url, secret = "https://app.example.com/", signature.new_secret()
        endpoints.create(connection, Author("ann"), url, ["levels.changed"], secret)
        outbox.tell(connection, Event("msg_1", "levels.changed", LONG_AGO, {}))
        connection.execute(tables.webhook_deliveries.update().values(created_at=LONG_AGO))
        outbox.tell(connection, Event("msg_2", "levels.changed", NOW, {}))

    def _run(self, *, ended: bool) -> FlowRun:
        """Its API takes no past instants, so Prefect's database is told."""
        with self.engine.begin() as connection:
            key = idempotency.book(connection, str(uuid4()), "a refresh").run_key
        run = self.worker.client.create_flow_run_from_deployment(
            self.deployment, idempotency_key=str(key)
        )
        if ended:
            self.worker.client.set_flow_run_state(run.id, Completed(), force=True)
            with self.prefect.begin() as connection:
                end = text("update flow_run set end_time = :at where id = :id")
                connection.execute(end, {"at": LONG_AGO, "id": run.id})
        return run

    def _noted(self, run: FlowRun) -> None:
        path = f"{run.id}/autoindex-composite-daily-2022-12-02.json"
        first, last = date(2022, 12, 1), date(2022, 12, 2)
        made = LONG_AGO if run is self.runs[0] else NOW
        row = StoredReport(
            run.id, "daily", "json", first, last, path, "application/json", 7, "", None, made
        )
        with self.engine.begin() as connection:
            stored_reports.record(connection, row)
            deliveries.claim(connection, run.id, "ann@example.org", f"<{run.id}@example.org>")
            leases.take(connection, run.id, "a worker", timedelta(seconds=1))
            checkpoints.store(connection, run.id, {})
            task_progress.begin(connection, run.id, NOW)
        self._file(f"reports/{path}")

    def _file(self, name: str) -> None:
        file = self.worker.settings.data_dir / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))

    def counts(self) -> dict[str, int]:
        """How many there are of everything."""
        with self.engine.connect() as connection:
            rows = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in tables.metadata.sorted_tables
                if table is not tables.data_versions
            }
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[run.id for run in self.runs]))
        folder = self.worker.settings.data_dir
        return rows | {
            "runs": self.worker.client.count_flow_runs(flow_run_filter=mine),
            "report files": len(list(folder.glob("reports/*-*/*"))),
            "strangers": sum((folder / name).exists() for name in STRANGERS),
        }

    def clean(self, types: Sequence[str], *, dry_run: bool) -> dict[str, Any]:
        """What a run of the flow says that it has done; of itself it leaves nothing to count."""
        asked = self.worker.ask(
            self.deployment, older_than_days=30, types=list(types), dry_run=dry_run
        )
        where = {"TMPDIR": str(self.worker.settings.temporary_dir)}
        assert self.worker.run(asked, where).state_name == "Completed"
        with self.engine.begin() as connection:
            query = text("delete from task_results where task_id = :id returning result")
            result: dict[str, Any] = connection.execute(query, {"id": asked.id}).scalar_one()
            for table in (tables.task_progress, tables.checkpoints):
                connection.execute(table.delete().where(table.c.task_id == asked.id))
        return result


@pytest.fixture
def old(worker: Worker, engine: Engine, server: EmbeddedPostgres) -> Iterator[Old]:
    prefect = create_engine(server.url("prefect_quick"))
    made = Old(worker, engine, prefect)
    yield made
    for run in made.runs:
        with suppress(ObjectNotFound):
            worker.client.delete_flow_run(run.id)
    prefect.dispose()


def deleted(result: dict[str, Any]) -> dict[str, int]:
    return {kind: one["deleted"] for kind, one in result["removed"].items()}


@pytest.mark.parametrize("kind", EVERY)
def test_a_type_removes_what_it_says_and_nothing_else(old: Old, kind: str) -> None:
    before = old.counts()
    done = old.clean([kind], dry_run=False)
    after = old.counts()
    removed = {what: before[what] - count for what, count in after.items()}
    assert {what: count for what, count in removed.items() if count} == REMOVES[kind]
    assert deleted(done) == {name: removed[COUNTED[name]] for name in deleted(done)}
    assert done["optimised"]["bytes_after"] > 0


def test_a_dry_run_counts_what_the_real_run_removes(old: Old) -> None:
    died = old.worker.settings.temporary_dir / f"autoindex-run-{uuid4()}-abc_0123"
    died.mkdir()
    os.utime(died, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    before = old.counts()
    counted = old.clean(EVERY, dry_run=True)
    assert old.counts() == before
    assert not old.scene.folder.exists()
    done, again = (old.clean(EVERY, dry_run=False) for _ in range(2))
    assert old.counts()["strangers"] == len(STRANGERS)
    assert deleted(counted) == deleted(done)
    assert set(deleted(done)) == set(COUNTED)
    assert set(deleted(again).values()) == {0}
    assert done["removed"]["prices"]["archived"] == 200
    assert [one["temporary_files"] for one in (counted, done, again)] == [1, 1, 0]
    # Nor have these runs left any.
    assert list(died.parent.glob("autoindex-run-*")) == []
