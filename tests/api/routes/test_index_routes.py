"""Reading the index over HTTP."""

import csv
import io
from datetime import UTC, date, datetime, timedelta

import httpx
import pandas as pd
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, delete, insert

from autoindex.index.pro_forma import ProForma
from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.index import allocations as index_allocations
from autoindex.storage.index import index_metrics, pro_formas
from autoindex.storage.index import publications as stored_publications
from autoindex.storage.index.allocations import Allocations, Held
from autoindex.storage.tables import (
    allocations,
    assets,
    index_levels,
    metrics,
    publications,
    superseded_allocations,
    superseded_levels,
    superseded_metrics,
)
from autoindex.storage.universe.assets import list_assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from tests.api.answers import client, problem

pytestmark = pytest.mark.anyio

INDEX = "/api/v1/index"
FIRST = date(2022, 1, 3)
PUBLISHED = {"strategy": "composite", "frequency": "monthly"}

PAST = (
    index_levels,
    superseded_levels,
    publications,
    allocations,
    superseded_allocations,
    metrics,
    superseded_metrics,
)


@pytest.fixture(autouse=True)
def stored(api_engine: Engine) -> None:
    """Five levels, one rebalance of two symbols, and the metrics of the last session."""
    days = [FIRST + timedelta(days=number) for number in range(5)]
    levels = pd.Series([100 + n / 3 for n in range(5)], pd.DatetimeIndex(days))
    with api_engine.begin() as connection:
        for table in PAST:
            connection.execute(delete(table))
        ids = connection.execute(assets.select().order_by(assets.c.symbol)).all()
        held = [
            {**PUBLISHED, "session": FIRST, "asset_id": row.id, "weight": weight, "units": 1.0}
            for row, weight in zip(ids, (0.75, 0.25), strict=True)
        ]
        publish(connection, levels[:4])
        publish(connection, levels[4:])
        connection.execute(insert(allocations).values(held))
        values = {"all": {"sharpe_ratio": 0.5, "beta": None}}
        index_metrics.store(connection, Strategy.COMPOSITE, Frequency.MONTHLY, days[-1], values)


def publish(connection: Connection, levels: pd.Series) -> None:
    which = (Strategy.COMPOSITE, Frequency.MONTHLY)
    stored_publications.publish(connection, *which, levels, cause="new sessions", task_id=None)


async def test_levels_come_oldest_first_and_paged(http: httpx.AsyncClient) -> None:
    first = (await http.get(f"{INDEX}/levels", params={"per_page": 3})).json()
    second = (await http.get(f"{INDEX}/levels", params={"per_page": 3, "page": 2})).json()
    assert {name: first[name] for name in ("strategy", "frequency", "total", "page")} == {
        **PUBLISHED,
        "total": 5,
        "page": 1,
    }
    assert first["levels"][0] == {
        "session": "2022-01-03",
        "level": 100.0,
        "status": "final",
        "version": 1,
        "back_tested": True,
    }
    assert [row["session"] for row in second["levels"]] == ["2022-01-06", "2022-01-07"]


async def test_what_was_published_at_an_instant_is_answered_as_it_was(
    http: httpx.AsyncClient, api_engine: Engine
) -> None:
    before = (await http.get(f"{INDEX}/levels")).json()
    assert [row["back_tested"] for row in before["levels"]] == [True] * 4 + [False]
    assert before["launched_at"] < datetime.now(UTC).isoformat()
    instant = datetime.now(UTC).isoformat()
    with api_engine.begin() as connection:
        publish(connection, pd.Series([99.0, 98.0], pd.DatetimeIndex(["2022-01-06", "2022-01-10"])))
    now = (await http.get(f"{INDEX}/levels")).json()
    assert [(row["level"], row["version"]) for row in now["levels"][3:]] == [
        (99.0, 2),
        (100 + 4 / 3, 1),
        (98.0, 1),
    ]
    then = (await http.get(f"{INDEX}/levels", params={"as_of": instant})).json()
    assert then == before
    last = {"as_of": instant, "order": "desc", "per_page": 2, "page": 2}
    found = (await http.get(f"{INDEX}/levels", params=last)).json()
    assert (found["levels"], found["total"]) == (before["levels"][2:0:-1], 5)
    early = {"as_of": "2000-01-01T00:00:00Z"}
    assert (await http.get(f"{INDEX}/levels", params=early)).json()["total"] == 0
    refused = await http.get(f"{INDEX}/levels", params={"as_of": "1672264800"})
    assert problem(refused, 422)["errors"][0]["field"] == "as_of"


async def test_weights_and_metrics_of_an_instant_are_answered_as_they_were(
    http: httpx.AsyncClient, api_engine: Engine
) -> None:
    paths = [f"{INDEX}/allocations", f"{INDEX}/metrics"]
    before = [(await http.get(path)).json() for path in paths]
    instant = {"as_of": datetime.now(UTC).isoformat()}
    which = (Strategy.COMPOSITE, Frequency.MONTHLY)
    with api_engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in list_assets(connection)}
        # A rebalance that had kept its holdings decides after all, and another decides anew.
        days = pd.DatetimeIndex([FIRST, FIRST + timedelta(days=2), "2022-01-10"])
        weights = pd.DataFrame([[0.5, 0.5]] * 3, days, sorted(ids))
        held = Held.of(Allocations(weights, weights), ids)
        index_allocations.store(connection, *which, [held], FIRST)
        publish(connection, pd.Series([98.0], days[2:]))
        for day in (FIRST + timedelta(days=4), days[2].date()):
            values = {"all": {"sharpe_ratio": 0.25, "beta": None}}
            index_metrics.store(connection, *which, day, values)
    held, measured = [(await http.get(path)).json() for path in paths]
    assert [row["weight"] for row in held["allocations"]] == [0.5] * 6
    assert [row["values"]["all"]["sharpe_ratio"] for row in measured["metrics"]] == [0.25, 0.25]
    assert [(await http.get(path, params=instant)).json() for path in paths] == before
    second = {**instant, "per_page": 1, "page": 2, "order": "desc"}
    (row,) = (await http.get(paths[0], params=second)).json()["allocations"]
    assert (row["symbol"], row["weight"]) == ("JPM", 0.25)
    early = {"as_of": "2000-01-01T00:00:00Z"}
    for path in paths:
        found = (await http.get(path, params=early)).json()
        assert (found["total"], found["launched_at"]) == (0, None)
    foreseen = await http.get(paths[0], params={**instant, "pro_forma": "true"})
    assert problem(foreseen, 422)["errors"][0]["field"] == "pro_forma"


async def test_a_level_keeps_every_digit(http: httpx.AsyncClient) -> None:
    window = {"start_date": "2022-01-04", "end_date": "2022-01-04"}
    found = (await http.get(f"{INDEX}/levels", params=window)).json()
    assert [row["level"] for row in found["levels"]] == [100 + 1 / 3]


async def test_another_strategy_has_nothing_yet(http: httpx.AsyncClient) -> None:
    found = (await http.get(f"{INDEX}/levels", params={"strategy": "momentum"})).json()
    assert (found["total"], found["levels"]) == (0, [])
    found = (await http.get(f"{INDEX}/metrics", params={"strategy": "momentum"})).json()
    assert (found["total"], found["metrics"]) == (0, [])


async def test_allocations_name_symbols_and_sectors(http: httpx.AsyncClient) -> None:
    found = (await http.get(f"{INDEX}/allocations")).json()
    assert found["allocations"] == [
        {"session": "2022-01-03", "symbol": "AAPL", "weight": 0.75, "sector": "Technology"},
        {"session": "2022-01-03", "symbol": "JPM", "weight": 0.25, "sector": None},
    ]


async def test_another_sector_is_shown_at_once(http: httpx.AsyncClient, api_engine: Engine) -> None:
    async def sector() -> str | None:
        found = (await http.get(f"{INDEX}/allocations")).json()["allocations"]
        return next(row["sector"] for row in found if row["symbol"] == "AAPL")

    row = {"symbol": "AAPL", "exchange": "NYSE", "currency": "USD", "name": "AAPL"}
    for name in ("Hardware", "Technology"):
        with api_engine.begin() as connection:
            import_universe(connection, [UniverseRow(sector=name, **row)])
        assert await sector() == name


@pytest.fixture
def foreseen(api_engine: Engine) -> dict[str, float]:
    """A stored pro-forma: its turnover, and trades by symbol."""
    weights = pd.Series({"AAPL": 0.0, "JPM": 1.0})
    found = ProForma(FIRST, date(2022, 2, 1), weights, pd.Series({"AAPL": 0.7, "JPM": 0.3}))
    with api_engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in list_assets(connection)}
        pro_formas.store(connection, Strategy.COMPOSITE, Frequency.MONTHLY, found, ids)
    return {"turnover": 0.7, "AAPL": -0.7, "JPM": 0.7}


async def test_the_next_rebalance_is_foreseen(
    http: httpx.AsyncClient, foreseen: dict[str, float]
) -> None:
    answer = await http.get(f"{INDEX}/allocations", params={"pro_forma": True})
    found = answer.json()
    assert (found["decided_with"], found["next_rebalance"]) == ("2022-01-03", "2022-02-01")
    assert (found["turnover"], found["total"]) == (pytest.approx(foreseen["turnover"]), 2)
    assert found["launched_at"] is not None
    assert found["allocations"] == [
        {"symbol": "AAPL", "weight": 0.0, "current_weight": 0.7, "trade": foreseen["AAPL"]},
        {"symbol": "JPM", "weight": 1.0, "current_weight": 0.3, "trade": foreseen["JPM"]},
    ]
    page = {"pro_forma": True, "per_page": 1, "page": 2}
    second = (await http.get(f"{INDEX}/allocations", params=page)).json()
    assert (second["total"], second["allocations"]) == (2, found["allocations"][1:])
    known = {"If-None-Match": answer.headers["etag"]}
    again = await http.get(f"{INDEX}/allocations", params={"pro_forma": True}, headers=known)
    assert again.status_code == 304
    past = (await http.get(f"{INDEX}/allocations", params={"pro_forma": False})).json()
    assert past == (await http.get(f"{INDEX}/allocations")).json()
    assert [row["weight"] for row in past["allocations"]] == [0.75, 0.25]


@pytest.mark.usefixtures("foreseen")
async def test_the_next_rebalance_is_served_as_csv(http: httpx.AsyncClient) -> None:
    asked = {"params": {"pro_forma": True}, "headers": {"Accept": "text/csv"}}
    answer = await http.get(f"{INDEX}/allocations", **asked)  # type: ignore[arg-type]
    assert list(csv.reader(io.StringIO(answer.text)))[:2] == [
        [
            "symbol",
            "weight",
            "current_weight",
            "trade",
            "decided_with",
            "next_rebalance",
            "turnover",
        ],
        ["AAPL", "0.0", "0.7", "-0.7", "2022-01-03", "2022-02-01", "0.7"],
    ]


async def test_nothing_is_foreseen_of_an_index_without_levels(http: httpx.AsyncClient) -> None:
    asked = {"strategy": "momentum", "pro_forma": True}
    answer = await http.get(f"{INDEX}/allocations", params=asked)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["allocations"], found["total"], found["turnover"]) == ([], 0, None)
    assert found["decided_with"] is found["next_rebalance"] is None


@pytest.mark.parametrize(
    "window", [{"start_date": "2022-01-03"}, {"end_date": "2022-01-03"}, {"order": "desc"}]
)
async def test_what_is_foreseen_has_no_window(
    http: httpx.AsyncClient, window: dict[str, str]
) -> None:
    asked = {"pro_forma": "true", **window}
    found = problem(await http.get(f"{INDEX}/allocations", params=asked), 422)
    assert [error["field"] for error in found["errors"]] == ["pro_forma"]
    answer = await http.get(f"{INDEX}/allocations", params={"pro_forma": "false", **window})
    assert answer.status_code == 200
    problem(await http.get(f"{INDEX}/levels", params={"pro_forma": "true"}), 422)


async def test_metrics_are_read_in_either_order(
    http: httpx.AsyncClient, api_engine: Engine
) -> None:
    with api_engine.begin() as connection:
        values = {"all": {"sharpe_ratio": 0.25, "beta": 1.5}}
        index_metrics.store(connection, Strategy.COMPOSITE, Frequency.MONTHLY, FIRST, values)
    newest = {"session": "2022-01-07", "values": {"all": {"sharpe_ratio": 0.5, "beta": None}}}
    oldest = {"session": "2022-01-03", "values": values}
    found = (await http.get(f"{INDEX}/metrics")).json()
    assert (found["total"], found["metrics"]) == (2, [oldest, newest])
    only = {"order": "desc", "per_page": 1}
    assert (await http.get(f"{INDEX}/metrics", params=only)).json()["metrics"] == [newest]
    until = {"order": "desc", "end_date": "2022-01-06"}
    assert (await http.get(f"{INDEX}/metrics", params=until)).json()["metrics"] == [oldest]
    answer = await http.get(f"{INDEX}/metrics", params=only, headers={"Accept": "text/csv"})
    assert list(csv.reader(io.StringIO(answer.text))) == [
        ["session", "window", "metric", "value"],
        ["2022-01-07", "all", "beta", ""],
        ["2022-01-07", "all", "sharpe_ratio", "0.5"],
    ]


async def test_the_newest_levels_may_come_first(http: httpx.AsyncClient) -> None:
    found = (await http.get(f"{INDEX}/levels", params={"order": "desc", "per_page": 2})).json()
    assert [row["session"] for row in found["levels"]] == ["2022-01-07", "2022-01-06"]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/*;q=0.5", "text/csv"),
        ("text/html, text/csv;q=0.9, */*;q=0.1", "text/csv"),
        ("application/json, text/csv;q=0.9", "application/json"),
        ("text/csv;q=0.2, application/json;q=0.3", "application/json"),
        ("application/json;q=0, */*", "text/csv"),
        ("text/csv;charset=utf-8;header=present", "text/csv"),
        ("nonsense", "application/json"),
        ("text/html", None),
        ("application/pdf, */*;q=0", None),
    ],
)
async def test_the_client_chooses_the_media_type(
    http: httpx.AsyncClient, accept: str, chosen: str | None
) -> None:
    answer = await http.get(f"{INDEX}/levels", headers={"Accept": accept})
    if chosen is None:
        assert "text/csv" in problem(answer, 406)["detail"]
    else:
        assert answer.headers["content-type"].partition(";")[0] == chosen
        assert answer.headers["vary"] == "Accept"


async def test_a_table_is_served_as_csv(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"{INDEX}/levels", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["session", "level", "status", "version", "back_tested"]
    assert float(rows[2][1]) == 100 + 1 / 3
    assert len(rows) == 6


async def test_what_has_not_changed_is_not_sent_again(
    http: httpx.AsyncClient, api_engine: Engine
) -> None:
    tag = (await http.get(f"{INDEX}/levels")).headers["etag"]
    again = await http.get(f"{INDEX}/levels", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    for known in (f'"x", W/{tag}', "*"):
        answer = await http.get(f"{INDEX}/levels", headers={"If-None-Match": known})
        assert (answer.status_code, answer.headers["etag"]) == (304, tag)
    for other in (tag.strip('"'), f'"{tag[2:]}', '"*"'):
        answer = await http.get(f"{INDEX}/levels", headers={"If-None-Match": other})
        assert answer.status_code == 200
    as_csv = {"If-None-Match": tag, "Accept": "text/csv"}
    assert (await http.get(f"{INDEX}/levels", headers=as_csv)).status_code == 200
    with api_engine.begin() as connection:
        versions.bump(connection, versions.INDEX)
    changed = await http.get(f"{INDEX}/levels", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"strategy": "astrology"}, "strategy"),
        ({"start_date": "tomorrow"}, "start_date"),
        ({"per_page": 10_001}, "per_page"),
        ({"symbol": "AAPL"}, "symbol"),
        ({"start_date": "2022-02-02", "end_date": "2022-02-01"}, "end_date"),
        ({"start_date": "0"}, "start_date"),
    ],
)
async def test_a_wrong_window_is_named(
    http: httpx.AsyncClient, parameters: dict[str, str], field: str
) -> None:
    found = problem(await http.get(f"{INDEX}/levels", params=parameters), 422)
    assert [error["field"] for error in found["errors"]] == [field]


async def test_reading_needs_the_scope(app: FastAPI) -> None:
    async with client(app, "ada", ["tasks:run"]) as http:
        problem(await http.get(f"{INDEX}/levels"), 403)
