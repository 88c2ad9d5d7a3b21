"""Refresh, compute, report, clean up: through the facade, on real prices."""

import time
from collections.abc import Sequence
from datetime import date, datetime
from importlib.resources import files
from io import BytesIO
from uuid import UUID

import httpx
import numpy as np
import openpyxl
import pandas as pd
import pypdf
import pytest
from sqlalchemy import Engine, text

from deployments.local.stack import Stack
from tests.bounds import HANG_SECONDS
from tests.end_to_end.conftest import TASKS, App, Task, pause_schedules, switch_schedules

PRICES = files("sandbox") / "data" / "sp500_20_closes.csv.gz"


def sample_closes() -> pd.DataFrame:
    with PRICES.open("rb") as file:
        return pd.read_csv(file, compression="gzip", index_col=0, parse_dates=True)


def stored_levels(database: Engine, strategy: str) -> pd.Series:
    query = text(
        "select session, level from index_levels "
        "where strategy = :strategy and frequency = 'monthly' order by session"
    )
    with database.connect() as connection:
        rows = connection.execute(query, {"strategy": strategy}).all()
    return pd.Series({pd.Timestamp(day): level for day, level in rows})


def test_a_full_refresh_stores_every_bar(refreshed: Task, database: Engine) -> None:
    result = refreshed["result"]
    assert result["symbols_processed"] == 21
    # A schedule's run may have come first, before the schedules were paused.
    assert result["records_updated"] + result["records_unchanged"] == 21 * 8313
    assert result["duration_seconds"] > 0
    assert result["refused"] == result["deferred"] == {}
    assert datetime.fromisoformat(refreshed["started_at"]) < datetime.fromisoformat(
        refreshed["completed_at"]
    )
    with database.connect() as connection:
        assert connection.scalar(text("select count(*) from prices")) == 21 * 8313
        query = text(
            "select close, volume from prices join assets on assets.id = asset_id "
            "where symbol = 'AAPL' and session = '2022-12-28'"
        )
        assert connection.execute(query).one() == (sample_closes()["AAPL"].iloc[-1], None)


def test_every_schedule_makes_runs(app: App, stack: Stack) -> None:
    def scheduled() -> set[str]:
        return set(app.http.get("/api/v1/background/active").json()["scheduled"])

    pause_schedules(stack)
    assert not scheduled()
    switch_schedules(stack, "resume")
    deadline = time.monotonic() + HANG_SECONDS
    try:
        while len(scheduled()) < 3:
            assert time.monotonic() < deadline, scheduled()
            time.sleep(0.5)
    finally:
        pause_schedules(stack)


@pytest.mark.usefixtures("refreshed")
def test_an_up_to_date_universe_costs_nothing(app: App, sandbox: httpx.Client) -> None:
    task = app.succeed("refresh", {"mode": "smart"})
    assert task["result"]["symbols_processed"] == 21
    assert task["result"]["records_updated"] == 0
    assert sandbox.get("/sandbox/requests").json()["count"] == 0


def recomputed_by_hand(closes: pd.DataFrame) -> Sequence[float]:
    """Equal weights, rebalanced at the first close of each month, in plain Python."""
    level, levels = 100.0, [100.0]
    prices = closes.to_numpy()
    shares = [level / len(prices[0]) / price for price in prices[0]]
    for number in range(1, len(prices)):
        level = sum(share * price for share, price in zip(shares, prices[number], strict=True))
        levels.append(level)
        if closes.index[number].month != closes.index[number - 1].month:
            shares = [level / len(prices[number]) / price for price in prices[number]]
    return levels


@pytest.mark.usefixtures("refreshed")
def test_equal_weight_levels_are_those_of_an_independent_program(
    app: App, database: Engine
) -> None:
    task = app.succeed("compute-index", {"strategy": "equal_weight"})
    levels = stored_levels(database, "equal_weight")
    closes = sample_closes()
    assert list(levels.index) == list(closes.index)
    np.testing.assert_allclose(levels, recomputed_by_hand(closes), rtol=1e-9)
    assert task["result"]["level"] == levels.iloc[-1]
    assert task["result"]["first_session"] == "1990-01-02"


@pytest.mark.usefixtures("refreshed")
def test_going_on_changes_nothing_published(app: App, database: Engine) -> None:
    before = stored_levels(database, "composite")
    again = app.succeed("compute-index", {})
    assert again["result"]["sessions_computed"] == 0
    partly = app.succeed("compute-index", {"start_date": "2022-06-01"})
    assert partly["result"]["sessions_computed"] == len(before["2022-06-01":])
    after = stored_levels(database, "composite")
    np.testing.assert_allclose(after, before, rtol=1e-12)
    assert before.iloc[0] == 100


@pytest.mark.usefixtures("refreshed")
def test_a_window_without_sessions_fails_and_names_those_there_are(app: App) -> None:
    # The published index, too, which has levels to go on from.
    for index in ({"strategy": "momentum"}, {}):
        task = app.run("compute-index", index | {"start_date": "2023-01-03"})
        assert task["status"] == "failure"
        assert "1990-01-02 to 2022-12-28" in task["error"]
        # No refresh brings bars from before the first ones.
        before = index | {"start_date": "1980-01-01", "end_date": "1985-01-01"}
        refused = app.http.post(f"{TASKS}/compute-index", json=before)
        assert refused.status_code == 422
        assert "1990-01-02 to 2022-12-28" in refused.text


@pytest.mark.usefixtures("refreshed")
def test_reports_hold_the_same_numbers_in_three_kinds_of_file(app: App) -> None:
    bodies = {
        kind: app.post("generate-report", {"report_type": "monthly", "format": kind})
        for kind in ("pdf", "excel", "json")
    }
    answers = {}
    for kind, task_id in bodies.items():
        task = app.until(task_id, lambda task: task["status"] in ("success", "failure"))
        assert task["status"] == "success", task
        answers[kind] = app.http.get(f"/api/v1/reports/{task_id}/file")
        assert (
            answers[kind].headers["content-type"].partition(";")[0] == task["result"]["media_type"]
        )
        assert len(answers[kind].content) == task["result"]["size_bytes"]
    pdf = pypdf.PdfReader(BytesIO(answers["pdf"].content))
    words = " ".join(page.extract_text() for page in pdf.pages)
    book = openpyxl.load_workbook(BytesIO(answers["excel"].content), read_only=True)
    report = answers["json"].json()
    assert report["period"]["last"] == "2022-12-28"
    assert "18,161.89" in words
    assert len(book.sheetnames) > 3


@pytest.mark.usefixtures("refreshed")
def test_a_dry_run_deletes_nothing(app: App, database: Engine) -> None:
    with database.connect() as connection:
        count = text("select count(*), count(*) filter (where session < '2012-12-31') from prices")
        before, old = connection.execute(count).one()
        task = app.succeed("cleanup", {"older_than_days": 3649, "types": ["prices"]})
        assert connection.execute(count).one() == (before, old)
    assert task["result"]["dry_run"] is True
    assert task["result"]["removed"]["prices"]["deleted"] == old > 0
    assert task["result"]["removed"]["prices"]["older_than"] == date(2012, 12, 31).isoformat()


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("refresh", {"mode": "smart", "symbols": ["AAPL"], "force": False}, "Refresh task queued"),
        ("compute-index", {"strategy": "equal_weight"}, "Index computation task queued"),
        (
            "generate-report",
            {"report_type": "daily", "format": "json"},
            "Report generation task queued",
        ),
        (
            "cleanup",
            {"older_than_days": 365, "types": ["prices", "news", "logs"], "dry_run": True},
            "Cleanup task queued",
        ),
    ],
)
@pytest.mark.usefixtures("refreshed")
def test_documented_requests_are_answered_as_documented(
    app: App, path: str, body: dict[str, object], message: str
) -> None:
    answer = app.http.post(f"/api/v1/background/{path}", json=body)
    assert answer.status_code == 202
    task_id = answer.json()["task_id"]
    assert answer.json() == {"task_id": task_id, "status": "pending", "message": message}
    assert UUID(task_id)
    assert answer.headers["location"] == f"/api/v1/background/status/{task_id}"
    ended = app.until(task_id, lambda task: task["status"] in ("success", "failure"))
    assert ended["status"] == "success", ended
    assert {"task_id", "status", "result", "error", "started_at", "completed_at"} <= ended.keys()
