"""What goes wrong, and what the app and the operator are told."""

import os
import signal
import time

import httpx
import numpy as np
import psutil
import pytest
from sqlalchemy import Engine, text

from deployments.local.stack import Stack
from tests.bounds import HANG_SECONDS
from tests.end_to_end.conftest import App

EVERYTHING_AGAIN = {"mode": "full", "force": True, "symbols": ["AAPL", "KO"]}


def engines(stack: Stack) -> list[psutil.Process]:
    """The processes of running tasks."""
    (worker,) = [child for child in stack.children if child.name == "Worker"]
    (guard,) = psutil.Process(worker.pid).children()
    (zygote,) = guard.children()
    return list(zygote.children())


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


def stored_levels(database: Engine) -> list[float]:
    query = text(
        "select level from index_levels where strategy = 'composite' and frequency = 'monthly' "
        "order by session"
    )
    with database.connect() as connection:
        return list(connection.execute(query).scalars())


def stored_closes(database: Engine, symbol: str) -> list[float]:
    query = text(
        "select close from prices join assets on id = asset_id where symbol = :symbol "
        "order by session"
    )
    with database.connect() as connection:
        return list(connection.execute(query, {"symbol": symbol}).scalars())


def forget(database: Engine, symbols: list[str], since: str) -> None:
    """Make symbols due: their newest bars were never stored."""
    query = text(
        "delete from prices using assets where id = asset_id and symbol = any(:symbols) "
        "and session >= :since"
    )
    with database.begin() as connection:
        assert connection.execute(query, {"symbols": symbols, "since": since}).rowcount


@pytest.mark.usefixtures("refreshed")
def test_restated_history_is_replaced_whole_and_keeps_the_index(
    app: App, sandbox: httpx.Client, database: Engine
) -> None:
    levels, closes = stored_levels(database), stored_closes(database, "AAPL")
    forget(database, ["AAPL"], "2022-12-28")
    split = {"AAPL": {"session": "2022-12-28", "ratio": 4}}
    assert sandbox.put("/sandbox/splits", json=split).is_success

    result = app.succeed("refresh", {"mode": "smart"})["result"]

    assert result["restated"] == ["AAPL"]
    # One for the overlap, then the two pages of the whole history.
    assert sandbox.get("/sandbox/requests").json()["credits"] == result["credits_spent"] == 3
    np.testing.assert_allclose(stored_closes(database, "AAPL"), np.divide(closes, 4), rtol=1e-8)
    np.testing.assert_allclose(stored_levels(database), levels, rtol=1e-8)

    sandbox.delete("/sandbox")
    again = app.succeed("refresh", {"mode": "full", "symbols": ["AAPL"]})["result"]
    assert again["restated"] == ["AAPL"]
    assert stored_closes(database, "AAPL") == closes
    np.testing.assert_allclose(stored_levels(database), levels, rtol=1e-8)
    # The universe was imported on the day whose bar was forgotten: nothing tells whether its share
    # counts are those of before the split. Other tests expect the imported ones.
    with database.begin() as connection:
        connection.execute(text("update share_counts set shares = imported"))


@pytest.mark.usefixtures("refreshed")
def test_a_spent_day_defers_and_the_next_day_takes_up_what_is_left(
    app: App, sandbox: httpx.Client, database: Engine
) -> None:
    stale = ["AAPL", "KO", "XOM"]
    closes = {symbol: stored_closes(database, symbol) for symbol in stale}
    forget(database, stale, "2022-12-27")
    sandbox.put("/sandbox/faults", json=[{"kind": "day_exhausted"}])
    for _ in range(2):
        result = app.succeed("refresh")["result"]
        assert result["deferred"] == dict.fromkeys(stale, "the day's credits are spent")
        assert (result["symbols_processed"], result["symbols_fetched"]) == (18, 0)
    # The second run did not even ask.
    assert sandbox.get("/sandbox/requests").json()["count"] == 1

    sandbox.put("/sandbox/faults", json=[])
    with database.begin() as connection:  # midnight, as the ledger sees it
        connection.execute(
            text("update credit_ledger set starts_at = starts_at - interval '1 day'")
        )
    result = app.succeed("refresh")["result"]
    assert result["deferred"] == {}
    assert result["symbols_fetched"] == 3
    assert {symbol: stored_closes(database, symbol) for symbol in stale} == closes


@pytest.mark.usefixtures("refreshed")
def test_a_running_task_is_really_cancelled(app: App, stack: Stack, sandbox: httpx.Client) -> None:
    sandbox.put("/sandbox/faults", json=[{"kind": "delay", "seconds": 120}])
    task_id = app.post("refresh", EVERYTHING_AGAIN)
    calls = ("ask for the plan", "fetch")
    app.until(task_id, lambda task: (task["progress"] or {}).get("step") in calls)
    (engine,) = engines(stack)
    answer = app.http.delete(f"/api/v1/background/task/{task_id}")
    assert answer.status_code == 202
    assert app.status(task_id)["status"] == "revoked"
    _gone, alive = psutil.wait_procs([engine], timeout=HANG_SECONDS)
    assert not alive
    ended = app.until(task_id, lambda task: task["completed_at"] is not None)
    assert ended["status"] == "revoked"
    assert app.http.delete(f"/api/v1/background/task/{task_id}").status_code == 409


def test_a_prefect_server_that_hangs_is_a_503_and_not_waited_for(app: App, stack: Stack) -> None:
    (server,) = [child for child in stack.children if child.name == "Prefect server"]
    os.kill(server.pid, signal.SIGSTOP)
    try:
        answer = app.http.post("/api/v1/background/refresh", json={})
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    deadline = time.monotonic() + HANG_SECONDS
    while app.http.get("/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_worker_is_told_its_type(stack: Stack) -> None:
    """Or it would end where Prefect can't be asked for it."""
    (worker,) = [child for child in stack.children if child.name == "Worker"]
    assert "--type autoindex" in " ".join(map(str, worker.process.args))  # type: ignore[arg-type]
