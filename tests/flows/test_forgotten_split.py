"""A split that the provider forgets, in whole refreshes: real sandbox, database and Prefect."""

# ruff: noqa: F811  fixtures that come from another module are imported by name

from datetime import UTC, datetime
from typing import Any

import pytest

from autoindex.storage.universe.universe_import import import_universe
from flows.visibility import events
from tests.flows.test_corrections import ROWS, levels
from tests.flows.test_pending_corrections import heard
from tests.flows.test_refresh_attempts import SYMBOLS, Desk, desk  # noqa: F401  fixture
from tests.market_data.conftest import sandbox, sandbox_url  # noqa: F401  fixtures

FORGOTTEN = {"AAPL": {"session": "2022-12-27", "ratio": 4, "forgotten": True}}


@pytest.fixture
def evening(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Refreshes on a day of December 2022, some hours after its close; the result."""

    def refresh(day: int, **parameters: Any) -> dict[str, Any]:
        now = datetime(2022, 12, day, 22, tzinfo=UTC)
        monkeypatch.setenv("AUTOINDEX_CLOCK", now.isoformat())
        desk.sandbox.clock(now)
        return desk.result(desk.ask(), **parameters)

    desk.plan(per_minute=100)
    with desk.engine.begin() as connection:
        import_universe(connection, ROWS)
    return refresh


@pytest.mark.parametrize("restated", [False, True])
def test_its_session_waits_for_the_next_one(
    desk: Desk, evening: Any, prefect_api: str, restated: bool
) -> None:
    begun = datetime.now(UTC)
    evening(23, mode="full")
    before = levels(desk)
    desk.sandbox.set("splits", FORGOTTEN)
    first = evening(27)
    assert first["suspicious"] == first["index"]["suspicious"] == {"AAPL": "2022-12-27"}
    assert first["index"]["waiting"] == ["AAPL"]
    assert levels(desk) == before
    (told,) = heard(prefect_api, events.CLOSE_SUSPICIOUS, begun)
    assert told.startswith("AAPL on 2022-12-27: a jump like that of a split.")
    # Whole, after its newest bars.
    assert sorted(desk.asked()) == sorted([*SYMBOLS, *SYMBOLS, "AAPL"])

    desk.sandbox.set("splits", {"AAPL": FORGOTTEN["AAPL"] | {"forgotten": not restated}})
    second = evening(28)
    assert (second["suspicious"], second["restated"]) == ({}, ["AAPL"] if restated else [])
    assert list(levels(desk))[-2:] == ["2022-12-27", "2022-12-28"]
    published = levels(desk)["2022-12-27"] / before["2022-12-23"] - 1
    # A third of the index has fallen by three quarters, or nothing has happened.
    assert published == pytest.approx(-0.02, abs=0.02) if restated else published < -0.1
