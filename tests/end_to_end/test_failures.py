"""What goes wrong, and what the app and the operator are told."""

import os
import signal
import time

import httpx
import psutil
import pytest
from sqlalchemy import Engine, text

from deployments.stack import Stack
from tests.end_to_end.conftest import App

EVERYTHING_AGAIN = {"mode": "full", "force": True, "symbols": ["AAPL", "KO"]}


def engines(stack: Stack) -> list[psutil.Process]:
    """The processes of running tasks."""
    (worker,) = [child for child in stack.children if child.name == "Worker"]
    return psutil.Process(worker.pid).children(recursive=True)


def bars(database: Engine) -> int:
    with database.connect() as connection:
        return int(connection.execute(text("select count(*) from prices")).scalar_one())


@pytest.mark.usefixtures("refreshed")
def test_a_transient_error_is_retried_and_seen(
    app: App, sandbox: httpx.Client, database: Engine
) -> None:
    before = bars(database)
    sandbox.put("/sandbox/faults", json=[{"kind": "edge_page", "times": 1}])
    task_id = app.post("refresh", EVERYTHING_AGAIN)
    app.until(task_id, lambda task: task["status"] == "retry")
    ended = app.until(task_id, lambda task: task["status"] in ("success", "failure"))
    assert ended["status"] == "success", ended
    assert ended["result"]["symbols_fetched"] == 2
    assert ended["result"]["records_updated"] == 0
    assert bars(database) == before


@pytest.mark.usefixtures("refreshed")
def test_a_refused_key_fails_at_once_and_is_named(app: App, sandbox: httpx.Client) -> None:
    sandbox.put("/sandbox/faults", json=[{"kind": "key_refused"}])
    task = app.run("refresh", EVERYTHING_AGAIN)
    assert task["status"] == "failure"
    assert "apikey" in task["error"]
    assert "Traceback" not in task["error"]
    asked = sandbox.get("/sandbox/requests").json()["requests"]
    assert len([call for call in asked if call["path"] == "/time_series"]) == 1


@pytest.mark.usefixtures("refreshed")
def test_one_bad_symbol_fails_alone(app: App, sandbox: httpx.Client) -> None:
    sandbox.put("/sandbox/faults", json=[{"kind": "unknown", "symbols": ["KO"]}])
    task = app.succeed("refresh", EVERYTHING_AGAIN)
    assert list(task["result"]["refused"]) == ["KO"]
    assert task["result"]["symbols_fetched"] == 1


@pytest.mark.usefixtures("refreshed")
def test_restated_history_is_fetched_whole_and_keeps_the_index(
    app: App, sandbox: httpx.Client, database: Engine
) -> None:
    level = text(
        "select level from index_levels where strategy = 'composite' "
        "and frequency = 'monthly' order by session desc limit 1"
    )
    with database.connect() as connection:
        before = connection.execute(level).scalar_one()
    sandbox.put("/sandbox/splits", json={"AAPL": {"session": "2022-12-28", "factor": 4}})
    task = app.succeed("refresh", {"mode": "full", "symbols": ["AAPL"]})
    assert task["result"]["restated"] == [] or task["result"]["restated"] == ["AAPL"]
    with database.connect() as connection:
        after = connection.execute(level).scalar_one()
    assert after == pytest.approx(before, rel=1e-3)


@pytest.mark.usefixtures("refreshed")
def test_a_running_task_is_really_cancelled(app: App, stack: Stack, sandbox: httpx.Client) -> None:
    sandbox.put("/sandbox/faults", json=[{"kind": "delay", "seconds": 120}])
    task_id = app.post("refresh", EVERYTHING_AGAIN)
    app.until(task_id, lambda task: task["status"] == "started")
    time.sleep(1)
    (engine,) = engines(stack)
    answer = app.http.delete(f"/api/v1/background/task/{task_id}")
    assert answer.status_code == 202
    assert app.status(task_id)["status"] == "revoked"
    _gone, alive = psutil.wait_procs([engine], timeout=30)
    assert not alive
    ended = app.until(task_id, lambda task: task["completed_at"] is not None, seconds=40)
    assert ended["status"] == "revoked"
    assert app.http.delete(f"/api/v1/background/task/{task_id}").status_code == 409


def test_an_absent_prefect_server_is_a_503_within_five_seconds(app: App, stack: Stack) -> None:
    (server,) = [child for child in stack.children if child.name == "Prefect server"]
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = app.http.post("/api/v1/background/refresh", json={})
        assert time.monotonic() - began < 5
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    while app.http.get("/ready").status_code != 200:
        assert time.monotonic() - began < 60
        time.sleep(0.2)
