"""Cleanup on a real PostgreSQL and a real folder: what goes and what stays."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import event, text

from autoindex.errors import ArchiveUnverified
from autoindex.market_data.bars import Bars
from autoindex.storage import versions
from autoindex.storage.prices import stored_prices
from autoindex.storage.retention.deletion import Removed
from autoindex.storage.universe import assets

OLDER_THAN = date(2020, 3, 15)
NAMES = ("prices", "news_articles", "task_results")


def in_order(rows: Any) -> list[Any]:
    return sorted(rows, key=repr)


class Watched(LocalFileSystem):
    """A local folder that tells of every move of a file into its place."""

    protocol = ("watched",)
    moved: Callable[[str], None]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return LocalFileSystem._strip_protocol(path.removeprefix("watched://"))

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        super().mv(path1, path2, **kwargs)
        Watched.moved(path2)


@pytest.fixture
def watched(scene: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    register_implementation("watched", Watched, clobber=True)
    monkeypatch.setattr(Watched, "moved", lambda _: None, raising=False)
    return f"watched://{scene.folder}"


def test_old_rows_move_into_the_archive_whole(scene: Any) -> None:
    before = scene.stored()
    removed = scene.clean()
    after, moved = scene.stored(), scene.archived()
    # 31 + 29 + 14 days; a result made at noon expires at noon of the day after.
    assert [(one.type, one.archived, one.deleted) for one in removed] == [
        ("prices", 148, 148),
        ("news", 74, 74),
        ("logs", 73, 73),
    ]
    for name, rows in before.items():
        assert in_order(after[name] + moved[name]) == rows
    assert min(row[1] for row in after["prices"]) == OLDER_THAN
    assert max(row[1] for row in moved["prices"]) == OLDER_THAN - timedelta(days=1)


def test_each_month_is_told_as_it_begins(scene: Any) -> None:
    months: list[date] = []
    scene.clean(types=["prices"], began=months.append)
    assert months == [date(2020, 1, 1), date(2020, 2, 1), date(2020, 3, 1)]


def test_a_second_run_finds_nothing(scene: Any) -> None:
    scene.clean()
    moved = scene.archived()
    assert scene.clean() == [Removed(kind) for kind in ("prices", "news", "logs")]
    assert scene.archived() == moved


def test_a_month_is_archived_in_two_parts(scene: Any) -> None:
    before = scene.stored()
    scene.clean(older_than=date(2020, 2, 11))
    removed = scene.clean()
    assert [one.archived for one in removed] == [66, 33, 33]
    after, moved = scene.stored(), scene.archived()
    assert all(in_order(after[name] + moved[name]) == before[name] for name in NAMES)
    assert len(list(scene.folder.glob("prices/2020-02/*"))) == 2


def test_a_dry_run_counts_what_the_real_one_deletes(scene: Any) -> None:
    before = scene.stored()
    counted = scene.clean(dry_run=True)
    assert scene.stored() == before
    assert not scene.folder.exists()
    done = scene.clean()
    assert [one.deleted for one in counted] == [one.deleted for one in done] == [148, 74, 73]
    assert [one.archived for one in counted] == [0, 0, 0]


def test_rows_before_midnight_utc_are_counted(scene: Any) -> None:
    _, articles, logs = scene.clean(dry_run=True)
    assert _count_before_midnight(scene, "news_articles", "published_at") == articles.deleted
    assert _count_before_midnight(scene, "task_results", "expires_at") == logs.deleted


def _count_before_midnight(scene: Any, table: str, column: str) -> int:
    query = f"select count(*) from {table} where {column} < timestamptz '2020-03-15 00:00Z'"  # noqa: S608
    with scene.engine.connect() as connection:
        count: int = connection.execute(text(query)).scalar_one()
        return count


def test_only_the_types_asked_for_are_touched(scene: Any) -> None:
    before = scene.stored()
    scene.clean(types=["news", "news"])
    after = scene.stored()
    assert after["prices"] == before["prices"]
    assert after["task_results"] == before["task_results"]
    assert len(after["news_articles"]) == 26


def test_rows_are_deleted_in_batches_of_their_own(scene: Any) -> None:
    commits: list[int] = []
    event.listen(scene.engine, "commit", lambda _: commits.append(1))
    (removed,) = scene.clean(types=["prices"], batch_rows=10)
    # 62, 58 and 28 rows, ten at a time; and one a month for the date prices are kept from.
    assert removed.batches == 7 + 6 + 3
    assert len(commits) == removed.batches + 3


def test_no_refresh_will_fetch_back_what_was_removed(scene: Any) -> None:
    with scene.engine.begin() as connection:
        connection.execute(
            text("update assets set prices_kept_from = '2024-01-01' where symbol = 'KO'")
        )
        version = versions.current(connection, versions.PRICES)
    scene.clean()
    with scene.engine.connect() as connection:
        kept = {a.symbol: a.prices_kept_from for a in assets.list_assets(connection)}
        assert versions.current(connection, versions.PRICES) > version
    assert kept == {"AAPL": OLDER_THAN, "KO": date(2024, 1, 1)}


def test_nothing_to_remove_changes_nothing(scene: Any) -> None:
    scene.clean(older_than=date(2019, 12, 31))
    with scene.engine.connect() as connection:
        assert {a.prices_kept_from for a in assets.list_assets(connection)} == {None}
        assert versions.current(connection, versions.PRICES) == 0
    assert not scene.folder.exists()


def test_a_row_that_changes_meanwhile_is_archived_as_it_became(
    scene: Any, watched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scene.stored()["prices"]

    def restate(path: str) -> None:
        if path.endswith("2020-01/prices.parquet"):
            monkeypatch.setattr(Watched, "moved", lambda _: None)
            with scene.engine.begin() as connection:
                connection.execute(text("update prices set close = 1 where session = '2020-01-05'"))

    monkeypatch.setattr(Watched, "moved", restate)
    (removed,) = scene.clean(types=["prices"], archive_url=watched)
    moved = scene.archived()["prices"]
    assert (removed.archived, removed.deleted) == (148, 148)
    assert len(moved) + len(scene.stored()["prices"]) == len(before)
    assert {row[5] for row in moved if row[1] == date(2020, 1, 5)} == {1.0}


def test_a_row_that_comes_meanwhile_is_archived_too(
    scene: Any, watched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insert(path: str) -> None:
        monkeypatch.setattr(Watched, "moved", lambda _: None)
        with scene.engine.begin() as connection:
            connection.execute(
                text(
                    "insert into prices select asset_id, '2019-12-31', open, high, low, close "
                    "from prices where session = '2020-01-01'"
                )
            )

    with scene.engine.begin() as connection:
        connection.execute(text("insert into prices values (1, '2019-12-30', 1, 1, 1, 1, 1)"))
    monkeypatch.setattr(Watched, "moved", insert)
    (removed,) = scene.clean(types=["prices"], archive_url=watched)
    assert (removed.archived, removed.deleted) == (151, 151)
    assert len(scene.archived()["prices"]) == 151


def test_rows_that_never_stay_the_same_are_refused(
    scene: Any, watched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restate(path: str) -> None:
        with scene.engine.begin() as connection:
            connection.execute(text("update prices set low = low - 1"))

    monkeypatch.setattr(Watched, "moved", restate)
    with pytest.raises(ArchiveUnverified, match="62 rows of prices in 2020-01"):
        scene.clean(types=["prices"], archive_url=watched)
    assert len(scene.stored()["prices"]) == 200


def test_a_file_that_was_changed_in_the_archive_stops_everything(scene: Any) -> None:
    scene.clean(older_than=date(2020, 1, 20))
    (path,) = scene.folder.glob("prices/2020-01/*.parquet")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    before = scene.stored()
    with pytest.raises(ArchiveUnverified, match="not the file its manifest names"):
        scene.clean()
    assert scene.stored() == before
    assert path.read_bytes() == content


def test_an_archive_that_keeps_something_else_gets_nothing_deleted(
    scene: Any, watched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def truncate(path: str) -> None:
        if path.endswith(".parquet"):
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[:-1])

    monkeypatch.setattr(Watched, "moved", truncate)
    before = scene.stored()
    with pytest.raises(ArchiveUnverified):
        scene.clean(archive_url=watched)
    assert scene.stored() == before


def test_an_archive_that_cannot_be_written_gets_nothing_deleted(scene: Any) -> None:
    scene.folder.write_text("a file where a folder should be")
    before = scene.stored()
    with pytest.raises(OSError, match="archive"):
        scene.clean()
    assert scene.stored() == before


def test_two_cleanups_at_once_take_turns(scene: Any) -> None:
    before, done = scene.stored(), []
    threads = [Thread(target=lambda: done.append(scene.clean())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after, moved = scene.stored(), scene.archived()
    assert sorted(sum(one.deleted for one in removed) for removed in done) == [0, 295]
    assert all(in_order(after[name] + moved[name]) == before[name] for name in NAMES)


def test_a_refresh_goes_on_beside_it(scene: Any) -> None:
    with scene.engine.connect() as connection:
        ids = {a.symbol: a.id for a in assets.list_assets(connection)}
    days = np.arange("2020-03-15", "2020-04-09", dtype="datetime64[D]")
    errors: list[BaseException] = []

    def refresh() -> None:
        try:
            for number in range(15):
                close = np.full(len(days), 50.0 + number)
                volume = np.full(len(days), 7)
                bars = [Bars(s, days, close, close, close, close, volume) for s in ids]
                with scene.engine.begin() as connection:
                    stored_prices.upsert(connection, bars, ids)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = Thread(target=refresh)
    thread.start()
    (removed,) = scene.clean(types=["prices"], batch_rows=5, pause_seconds=0.01)
    thread.join()
    assert not errors
    assert removed.deleted == 148
    assert {row[5] for row in scene.stored()["prices"]} > {64.0}
