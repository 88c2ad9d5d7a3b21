"""Rows come back from the archive as they went."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from autoindex.errors import ArchiveUnverified, UnknownSymbols
from autoindex.storage import versions
from autoindex.storage.retention.restore import restore
from autoindex.storage.universe import assets

KINDS = {"prices": "prices", "news": "news_articles", "logs": "task_results"}


def kept_from(scene: Any) -> dict[str, date | None]:
    with scene.engine.connect() as connection:
        return {a.symbol: a.prices_kept_from for a in assets.list_assets(connection)}


@pytest.mark.parametrize(("kind", "count"), [("prices", 148), ("news", 74), ("logs", 73)])
def test_everything_comes_back(scene: Any, kind: str, count: int) -> None:
    before = scene.stored()
    scene.clean()
    with scene.engine.begin() as connection:
        arguments = (connection, scene.archive_url, kind, date(2019, 1, 1), date(2021, 1, 1))
        assert restore(*arguments) == count
        assert restore(*arguments) == 0
    assert scene.stored()[KINDS[kind]] == before[KINDS[kind]]


def test_a_range_comes_back_and_lowers_the_date_prices_are_kept_from(scene: Any) -> None:
    scene.clean()
    with scene.engine.begin() as connection:
        version = versions.current(connection, versions.PRICES)
        first, last = date(2020, 1, 30), date(2020, 2, 2)
        assert restore(connection, scene.archive_url, "prices", first, last) == 2 * 4
        assert versions.current(connection, versions.PRICES) == version + 1
    days = {row[1] for row in scene.stored()["prices"] if row[1] < date(2020, 3, 15)}
    assert (min(days), max(days), len(days)) == (first, last, 4)
    assert kept_from(scene) == {"AAPL": first, "KO": first}


def test_what_came_back_is_archived_once_when_it_goes_again(scene: Any) -> None:
    scene.clean()
    moved = scene.archived()
    with scene.engine.begin() as connection:
        restore(connection, scene.archive_url, "prices", date(2020, 2, 1), date(2020, 2, 29))
    removed = scene.clean(types=["prices"])
    assert (removed[0].archived, removed[0].deleted) == (0, 58)
    assert scene.archived() == moved
    assert kept_from(scene) == {"AAPL": date(2020, 3, 1), "KO": date(2020, 3, 1)}


def test_stored_rows_stay_as_they_are(scene: Any) -> None:
    scene.clean()
    with scene.engine.begin() as connection:
        connection.execute(
            text("insert into prices select id, '2020-02-01', 1, 1, 1, 1, 1 from assets")
        )
        restored = restore(
            connection, scene.archive_url, "prices", date(2020, 2, 1), date(2020, 2, 2)
        )
    assert restored == 2
    closes = {row[5] for row in scene.stored()["prices"] if row[1] == date(2020, 2, 1)}
    assert closes == {1.0}


def test_an_archive_that_was_changed_brings_nothing_back(scene: Any) -> None:
    scene.clean()
    path = scene.folder / "prices" / "2020-02" / "prices.parquet"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArchiveUnverified), scene.engine.begin() as connection:
        restore(connection, scene.archive_url, "prices", date(2020, 1, 1), date(2020, 3, 31))
    assert min(row[1] for row in scene.stored()["prices"]) == date(2020, 3, 15)


def test_prices_of_an_asset_the_universe_lacks_are_refused(scene: Any) -> None:
    scene.clean(types=["prices"])
    with scene.engine.begin() as connection:
        connection.execute(text("update assets set symbol = 'PEP' where symbol = 'KO'"))
    with pytest.raises(UnknownSymbols, match="KO"), scene.engine.begin() as connection:
        restore(connection, scene.archive_url, "prices", date(2020, 1, 1), date(2020, 3, 31))


def test_no_archive_brings_nothing_back(scene: Any) -> None:
    with scene.engine.begin() as connection:
        assert restore(connection, scene.archive_url, "logs", date.min, date(2021, 1, 1)) == 0


def test_prices_of_an_asset_that_was_renamed_since_come_back(scene: Any) -> None:
    before = scene.stored()["prices"]
    scene.clean(types=["prices"])
    with scene.engine.begin() as connection:
        assets.rename(connection, "KO", "PEP", "ann")
        restore(connection, scene.archive_url, "prices", date(2020, 1, 1), date(2020, 3, 31))
    renamed = [("PEP" if row[0] == "KO" else row[0], *row[1:]) for row in before]
    assert scene.stored()["prices"] == sorted(renamed, key=repr)
