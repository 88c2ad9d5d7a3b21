"""Share counts when prices are restated: a split changes no capitalisation."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Connection, Engine

from autoindex import sessions
from autoindex.market_data.bars import Bars
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets, share_counts, universe_changes
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow

DAYS = sessions.between(date(2022, 1, 3), date(2022, 12, 28))
CLOSES = pd.Series(np.random.default_rng(3).uniform(100, 400, len(DAYS)).round(2), DAYS)


def bars(closes: pd.Series) -> Bars:
    close = closes.round(6).to_numpy()
    days = closes.index.to_numpy().astype("datetime64[D]")
    return Bars("GE", days, close, close, close, close, np.full(len(close), 7))


def imported(connection: Connection, count: int, as_of: str, on: str) -> None:
    row = UniverseRow(
        symbol="GE",
        exchange="NYSE",
        currency="USD",
        name="General Electric",
        shares_outstanding=count,
        shares_outstanding_date=date.fromisoformat(as_of),
    )
    import_universe(connection, [row], today=date.fromisoformat(on))


def stored(connection: Connection, closes: pd.Series) -> int:
    (asset,) = assets.named(connection, ["GE"])
    stored_prices.upsert(connection, [bars(closes)], {"GE": asset.id})
    return asset.id


def shares(connection: Connection) -> list[float | None]:
    return [one.shares for one in share_counts.load(connection)]


def split(closes: pd.Series, day: str, factor: float) -> pd.Series:
    """A history as a provider restates it: closes before the day divided by the factor."""
    return closes.where(closes.index >= day, closes / factor)


@pytest.mark.parametrize("factor", [4, 0.1, 1.5])
def test_a_split_changes_no_capitalisation(engine: Engine, factor: float) -> None:
    """Once, and by another one after it, with a count that was imported in between."""
    first = split(CLOSES, "2022-06-01", factor)
    second = split(first, "2022-10-03", factor)
    with engine.begin() as connection:
        imported(connection, 1_000, "2022-03-31", on="2022-04-20")
        known = stored(connection, CLOSES[:"2022-06-01"])
        stored_prices.replace(connection, bars(first[:"2022-06-02"]), known)
        assert shares(connection) == pytest.approx([1_000 * factor], rel=1e-6)
        imported(connection, round(1_100 * factor), "2022-07-01", on="2022-07-20")
        stored(connection, first[:"2022-10-03"])
        stored_prices.replace(connection, bars(second), known)
        expected = [1_000 * factor**2, round(1_100 * factor) * factor]
        assert shares(connection) == pytest.approx(expected, rel=1e-6)
        # What was said before is no news, in any share basis.
        imported(connection, 1_000, "2022-03-31", on="2022-12-28")
        imported(connection, round(expected[1]), "2022-07-01", on="2022-12-28")
        assert shares(connection) == pytest.approx(expected, rel=1e-6)
        # The newest splits, in a record that names who changes what.
        record = universe_changes.load(connection)
        by = [one.change for one in record if one.changed_by == "refresh"]
        assert by == [f"share counts multiplied by {factor:g}, as prices"] * 2


def test_closes_of_before_a_split_that_come_back_multiply_no_count_again(engine: Engine) -> None:
    """Of the day of the import, too: a cleanup has removed it before the split."""
    restated = split(CLOSES, "2022-06-01", 4)
    with engine.begin() as connection:
        imported(connection, 1_000, "2022-03-31", on="2022-04-20")
        known = stored(connection, CLOSES["2022-05-02":"2022-05-31"])
        stored_prices.replace(connection, bars(restated["2022-05-02":"2022-06-02"]), known)
        assert shares(connection) == pytest.approx([4_000], rel=1e-6)
        stored(connection, CLOSES["2022-04-01":"2022-04-29"])
        stored_prices.replace(connection, bars(restated["2022-04-01":"2022-06-03"]), known)
        assert shares(connection) == pytest.approx([4_000], rel=1e-6)
        again = split(restated, "2022-07-01", 2)
        stored_prices.replace(connection, bars(again["2022-04-01":"2022-07-01"]), known)
        assert shares(connection) == pytest.approx([8_000], rel=1e-6)


def test_a_count_of_the_day_of_the_split_is_in_its_basis(engine: Engine) -> None:
    """Imported that day, before the first refresh that knows of the split."""
    with engine.begin() as connection:
        imported(connection, 4_000, "2022-05-31", on="2022-06-01")
        known = stored(connection, CLOSES[:"2022-05-31"])
        restated = split(CLOSES, "2022-06-01", 4)
        stored_prices.replace(connection, bars(restated[:"2022-06-01"]), known)
        assert shares(connection) == [4_000]


@pytest.mark.parametrize("on", ["2022-05-20", "2022-05-31", "2022-06-04"])
def test_a_corrected_close_is_no_split(engine: Engine, on: str) -> None:
    """Of the day of the import, too."""
    with engine.begin() as connection:
        imported(connection, 1_000, "2022-03-31", on=on)
        known = stored(connection, CLOSES[:"2022-05-31"])
        corrected = CLOSES[:"2022-05-31"].copy()
        corrected[["2022-05-20", "2022-05-31"]] *= 1.05
        stored_prices.replace(connection, bars(corrected), known)
        assert shares(connection) == [1_000]


def test_a_history_of_one_day_is_restated(engine: Engine) -> None:
    with engine.begin() as connection:
        imported(connection, 1_000, "2022-03-31", on="2022-05-20")
        known = stored(connection, CLOSES["2022-05-20":"2022-05-20"])
        restated = split(CLOSES, "2022-05-23", 2)["2022-05-20":"2022-05-23"]
        stored_prices.replace(connection, bars(restated), known)
        assert shares(connection) == pytest.approx([2_000], rel=1e-6)
