"""What a report reads from a real PostgreSQL, and how its mail is claimed."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, text

from autoindex import sessions
from autoindex.errors import ConfigurationError, ReportImpossible
from autoindex.market_data.bars import Bars
from autoindex.reports.content import ProvisionalLevel, ReportContent
from autoindex.requests import (
    PUBLISHED_FREQUENCY,
    PUBLISHED_STRATEGY,
    ComputeIndexRequest,
    Frequency,
    ReportFormat,
    ReportRequest,
    ReportType,
    Strategy,
)
from autoindex.settings import Settings
from autoindex.storage import deliveries
from autoindex.storage.cache import from_settings
from autoindex.storage.index import corrections, levels, publications
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets, membership_changes
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from flows import compute_index
from flows import generate_report as flow
from flows.attempts.runtime import Runtime
from tests.flows.conftest import Inbox

DAYS = sessions.between(date(2022, 6, 1), date(2022, 12, 28))
SYMBOLS = ("AAPL", "KO", "MSFT", "XOM")
TO = "ann@example.org"
PUBLISHED = PUBLISHED_STRATEGY, PUBLISHED_FREQUENCY


@pytest.fixture
def run(engine: Engine, settings: Settings) -> Runtime:
    """A runtime over four stocks without prices."""
    listed = [
        UniverseRow(symbol=one, exchange="NYSE", currency="USD", name=one, shares_outstanding=10**9)
        for one in SYMBOLS
    ]
    with engine.begin() as connection:
        import_universe(connection, listed)
    now = datetime(2022, 12, 28, 22, tzinfo=UTC)
    return Runtime(settings, engine, from_settings(settings), now, uuid4())


@pytest.fixture
def closes() -> pd.DataFrame:
    random = np.random.default_rng(1)
    walks = 50 * np.exp(np.cumsum(random.normal(0, 0.02, (len(DAYS), len(SYMBOLS))), axis=0))
    return pd.DataFrame(walks, DAYS, list(SYMBOLS))


def publish(run: Runtime, closes: pd.DataFrame, **changes: Any) -> None:
    """Store prices, and the index that follows from them."""
    with run.engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        bars = [bars_of(closes[symbol].dropna()) for symbol in closes]
        stored_prices.upsert(connection, bars, ids)
    asked = ComputeIndexRequest(**changes)
    with disable_run_logger():
        loaded = compute_index.load_prices.fn(run, asked)
        compute_index.store.fn(run, asked, loaded, compute_index.compute.fn(loaded, asked))


def bars_of(close: pd.Series) -> Bars:
    days = close.index.to_numpy().astype("datetime64[D]")
    values = close.to_numpy()
    volume = np.full(len(close), -1)
    return Bars(str(close.name), days, values, values, values, values, volume)


def asked(**changes: Any) -> ReportRequest:
    return ReportRequest(report_type=ReportType.MONTHLY, format=ReportFormat.JSON, **changes)


def content_of(run: Runtime) -> ReportContent:
    with disable_run_logger():
        return flow.aggregate.fn(run, asked())


def claim_of(run: Runtime) -> deliveries.Delivery | None:
    with run.engine.connect() as connection:
        return deliveries.find(connection, run.task_id, TO)


def test_a_held_stock_without_bars_is_reported_at_its_last_close(
    run: Runtime, closes: pd.DataFrame
) -> None:
    closes.loc["2022-12-08":, "XOM"] = np.nan
    publish(run, closes)
    made = content_of(run)
    held = {row.symbol: row.close for row in made.holdings}
    assert held["XOM"] == pytest.approx(closes["XOM"].dropna().iloc[-1])
    assert made.contributions
    assert not {"holdings", "contributions", "rebalance"} & {gap.part for gap in made.missing}


def test_a_stock_that_was_deactivated_is_not_called_late(
    run: Runtime, closes: pd.DataFrame
) -> None:
    closes.loc["2022-12-23":, ["KO", "XOM"]] = np.nan
    publish(run, closes)
    with run.engine.begin() as connection:
        membership_changes.deactivate(connection, ["XOM"], "test")
    late = [note for note in content_of(run).quality_notes if "deferred or refused" in note]
    assert [note.split(":")[0] for note in late] == ["KO"]


def test_the_next_rebalance_and_the_imprint_come_with_it(
    run: Runtime, closes: pd.DataFrame
) -> None:
    publish(run, closes)
    named = run.settings.model_copy(update={"report_publisher": "Example Ltd"})
    made = content_of(replace(run, settings=named))
    assert made.sample_data
    assert (made.imprint.publisher, made.imprint.task_id) == ("Example Ltd", run.task_id)
    assert made.next_rebalance is not None
    assert made.next_rebalance.session == made.rebalance_calendar[0] == date(2023, 1, 3)
    assert {row.symbol for row in made.next_rebalance.changes} <= set(SYMBOLS)
    now = sum(row.before for row in made.next_rebalance.changes)
    held = {row.symbol: row.weight for row in made.holdings}
    changed = sum(held[row.symbol] for row in made.next_rebalance.changes)
    assert now == pytest.approx(changed)


def test_a_report_on_another_index_says_which(run: Runtime, closes: pd.DataFrame) -> None:
    which = {"strategy": Strategy.EQUAL_WEIGHT, "frequency": Frequency.WEEKLY}
    publish(run, closes, **which)
    with disable_run_logger():
        made = flow.aggregate.fn(run, asked(**which))
        with pytest.raises(ReportImpossible, match="no levels yet"):
            flow.aggregate.fn(run, asked())
    assert made.title.startswith("Autoindex Equal Weight, weekly: monthly report")
    assert (made.strategy, made.frequency) == ("equal_weight", "weekly")
    assert made.rebalance_calendar[0] == date(2023, 1, 3)
    assert {row.target_weight for row in made.holdings} == {0.25}


def test_a_computation_and_a_report_refuse_two_benchmarks(
    run: Runtime, closes: pd.DataFrame
) -> None:
    publish(run, closes)
    with run.engine.begin() as connection:
        for symbol in ("SPY", "DIA"):
            benchmark = UniverseRow(
                symbol=symbol, exchange="NYSE", currency="USD", name=symbol, role="benchmark"
            )
            import_universe(connection, [benchmark])
    with pytest.raises(ConfigurationError, match="DIA, SPY"):
        content_of(run)
    with pytest.raises(ConfigurationError, match="DIA, SPY"):
        publish(run, closes)


def test_a_stock_that_was_held_before_may_be_the_benchmark(
    run: Runtime, closes: pd.DataFrame
) -> None:
    publish(run, closes)
    with run.engine.begin() as connection:
        changed = UniverseRow(
            symbol="KO", exchange="NYSE", currency="USD", name="Coca-Cola", role="benchmark"
        )
        import_universe(connection, [changed])
    made = content_of(run)
    assert made.benchmark_name == "Coca-Cola"
    assert {row.symbol for row in made.holdings} >= {"KO"}


def test_a_report_says_what_was_published_and_what_has_changed_in_its_period(
    run: Runtime, closes: pd.DataFrame
) -> None:
    """November's last change is not of December, which begins at the close of its base."""
    publish(run, closes[:"2022-12-21"])
    publish(run, closes)
    correct(run, closes, "2022-12-28")
    backdate_newest_publication(run, "2022-11-30 20:59:59+00")
    before = published_levels(run)
    correct(run, closes, "2022-12-28")
    backdate_newest_publication(run, "2022-11-30 21:00:00+00")
    between = published_levels(run)
    correct(run, closes, "2022-12-27")
    correct(run, closes, "2022-12-28")
    after = published_levels(run)
    made = content_of(run).published_past
    assert made is not None
    assert made.back_tested_until == date(2022, 12, 21)
    assert made.launched_at.tzinfo is not None
    assert [(one.session, one.old_level, one.new_level) for one in made.changes] == [
        (date(2022, 12, 28), between["2022-12-28"], after["2022-12-28"]),
        (date(2022, 12, 27), before["2022-12-27"], after["2022-12-27"]),
        (date(2022, 12, 28), before["2022-12-28"], between["2022-12-28"]),
    ]
    assert [one.cause for one in made.changes] == [
        f"closes changed: KO from 2022-12-{day}" for day in (28, 27, 28)
    ]
    assert (made.pending, made.provisional) == ((), ())


def correct(run: Runtime, closes: pd.DataFrame, session: str) -> None:
    """Correct a close of KO, and compute what follows from it."""
    closes.loc[session, "KO"] *= 1.02
    with run.engine.begin() as connection:
        (ko,) = [one.id for one in assets.list_assets(connection) if one.symbol == "KO"]
        days = np.array([session], "datetime64[D]")
        corrections.note(connection, {ko: days}, "closes changed")
    publish(run, closes)


def backdate_newest_publication(run: Runtime, instant: str) -> None:
    query = text(
        "update publications set published_at = cast(:instant as timestamptz) "
        "where id = (select max(id) from publications)"
    )
    with run.engine.begin() as connection:
        connection.execute(query, {"instant": instant})


def published_levels(run: Runtime) -> pd.Series:
    with run.engine.connect() as connection:
        return levels.load(connection, *PUBLISHED)


def test_a_report_names_what_is_pending_and_what_is_provisional(
    run: Runtime, closes: pd.DataFrame
) -> None:
    publish(run, closes)
    with run.engine.begin() as connection:
        (xom,) = [one.id for one in assets.list_assets(connection) if one.symbol == "XOM"]
        days = np.array(["2022-09-09"], "datetime64[D]")
        corrections.note(connection, {xom: days}, "closes changed")
        corrections.measured(connection, corrections.load(connection, *PUBLISHED), 0.0123)
        stored = levels.load(connection, *PUBLISHED)[-1:]
        missing = {date(2022, 12, 28): ["KO"]}
        cause = "new sessions"
        publications.publish(
            connection, *PUBLISHED, stored, missing, cause=cause, task_id=run.task_id
        )
    made = content_of(run)
    assert made.published_past is not None
    (pending,) = made.published_past.pending
    assert (pending.session, pending.symbol) == (date(2022, 9, 9), "XOM")
    assert (pending.reason, pending.effect) == ("closes changed", 0.0123)
    assert made.published_past.provisional == (
        ProvisionalLevel(session=date(2022, 12, 28), missing=("KO",)),
    )
    assert "The level of 28 Dec 2022 is provisional: published without KO." in made.quality_notes


def test_a_report_states_the_currency_of_the_universe(
    engine: Engine, settings: Settings, closes: pd.DataFrame
) -> None:
    listed = [
        UniverseRow(symbol=one, exchange="NYSE", currency="EUR", name=one, shares_outstanding=10**9)
        for one in SYMBOLS
    ]
    with engine.begin() as connection:
        import_universe(connection, listed)
    now = datetime(2022, 12, 28, 22, tzinfo=UTC)
    run = Runtime(settings, engine, from_settings(settings), now, uuid4())
    publish(run, closes)
    assert content_of(run).currency == "EUR"


def test_what_fails_before_a_mail_is_sent_leaves_no_claim(
    run: Runtime, closes: pd.DataFrame, inbox: tuple[Inbox, int], tmp_path: Path
) -> None:
    """Nothing can have gone out yet, so that the next attempt sends."""
    box, port = inbox
    run = replaced(run, smtp_host="127.0.0.1", smtp_port=port, smtp_security="none")
    publish(run, closes)
    made, path = content_of(run), tmp_path / "report.json"
    with pytest.raises(FileNotFoundError):
        flow.deliver.fn(run, asked(email=TO), made, path)
    assert claim_of(run) is None
    path.write_text("{}")
    assert flow.deliver.fn(run, asked(email=TO), made, path) == "sent"
    assert flow.deliver.fn(run, asked(email=TO), made, path) == "sent"
    assert len(box.envelopes) == 1


def replaced(run: Runtime, **changes: Any) -> Runtime:
    settings = run.settings.model_copy(update=changes)
    return Runtime(settings, run.engine, run.cache, run.now, run.task_id)
