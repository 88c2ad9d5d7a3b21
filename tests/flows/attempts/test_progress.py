"""What a run tells those who follow it, run as a worker would; and that telling never fails it."""

import logging
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine

from autoindex.storage.runs import task_progress
from flows.attempts import progress
from tests.flows.conftest import Worker


def test_a_run_tells_its_steps_its_progress_and_its_own_lines(
    worker: Worker, engine: Engine
) -> None:
    deployment = worker.deploy("flows.cleanup.cleanup", "told")
    asked = worker.client.create_flow_run_from_deployment(
        deployment, parameters={"dry_run": True}, tags=["autoindex", "request:r-17"]
    )
    worker.run(asked)
    with engine.connect() as connection:
        told = task_progress.read(connection, [asked.id])[asked.id]
        lines = task_progress.lines_after(connection, {asked.id: 0})[asked.id]
    assert (told.step, told.completed, told.total, told.what) == (
        "store result", 4, 4, "record types"
    )  # fmt: skip
    texts = [line.text for line in lines]
    assert texts[0] == "asked for in request r-17"
    assert [text for text in texts if text.startswith("would remove 0 prices older than")]
    assert told.lines == len(lines)
    # Prefect's own lines hold traces and what a driver says.
    assert not [text for text in texts if "flow run" in text.lower()]


def test_a_run_goes_on_where_nobody_can_be_told(caplog: pytest.LogCaptureFixture) -> None:
    away = create_engine("postgresql+psycopg://postgres@127.0.0.1:1/nowhere")
    worker = logging.getLogger("prefect.flow_runs")
    with caplog.at_level(logging.INFO), progress.reporting(away, UUID(int=1)):
        for _ in range(3):
            worker.info("stored 3 bars", extra={"send_to_api": False})
            progress.step("fetch")
            progress.count(1, 2, "symbols")
    assert caplog.text.count("progress is no longer reported") == 1
    progress.step("nobody listens")
