"""What is told of every request: to its client, in the log and to Prometheus."""

import logging
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from api.tasks.runner import Kind
from tests.api.answers import problem
from tests.api.in_memory import InMemory

pytestmark = pytest.mark.anyio

STATUS = "/api/v1/background/status"


@pytest.fixture
def broken(runner: InMemory) -> UUID:
    """A task in a state that there is not."""
    run = runner.schedule(Kind.REFRESH, {}, timedelta())
    run.state_type = "secret-internals"
    return run.id


async def test_an_answer_that_nobody_expected_is_like_any_other(
    http: httpx.AsyncClient, broken: UUID
) -> None:
    answer = await http.get(f"{STATUS}/{broken}", headers={"X-Request-ID": "r-500"})
    problem(answer, 500)
    assert answer.headers["x-request-id"] == "r-500"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_it_is_counted_and_logged_as_what_it_is(
    http: httpx.AsyncClient, broken: UUID, runner: InMemory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "autoindex.api")
    await http.get(f"{STATUS}/{broken}")
    (line,) = [record for record in caplog.records if hasattr(record, "milliseconds")]
    assert line.getMessage() == f"GET {STATUS}/{broken} answered 500"
    (traced,) = [record for record in caplog.records if record.exc_info]
    assert "secret-internals" in (traced.exc_text or "")
    runner.runs.clear()
    counted = (await http.get("/metrics")).text
    sample = f'method="GET",route="{STATUS}/{{task_id}}",status="500"'
    assert f"autoindex_requests_total{{{sample}}} 1.0" in counted
    assert 'status="0"' not in counted
