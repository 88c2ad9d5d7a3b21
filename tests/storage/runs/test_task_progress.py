"""Progress and lines of tasks, and that whoever listens is told of each."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from autoindex.errors import PartUnavailable
from autoindex.settings import Settings
from autoindex.storage.postgres.listening import notifications
from autoindex.storage.runs import task_progress
from autoindex.storage.runs.task_progress import CHANNEL, LONGEST_LINE, MOST_LINES, Progress

NOW = datetime(2022, 12, 28, 22, 0, tzinfo=UTC)
ONE, OTHER = UUID(int=1), UUID(int=2)


def test_progress_is_that_of_the_newest_attempt(engine: Engine) -> None:
    with engine.begin() as connection:
        task_progress.begin(connection, ONE, NOW)
        task_progress.enter(connection, ONE, "fetch", NOW)
        task_progress.count(connection, ONE, 3, 21, "symbols fetched", NOW)
        told = Progress("fetch", 3, 21, "symbols fetched", 0, NOW)
        assert task_progress.read(connection, [ONE, OTHER]) == {ONE: told}
        task_progress.say(connection, ONE, "info", "stored 3 bars", NOW + timedelta(seconds=1))
        assert task_progress.read(connection, [ONE]) == {ONE: replace(told, lines=1)}
        task_progress.begin(connection, ONE, NOW)
        assert task_progress.read(connection, [ONE]) == {
            ONE: Progress(None, None, None, None, 1, NOW)
        }


def test_lines_come_after_the_number_a_reader_has(engine: Engine) -> None:
    with engine.begin() as connection:
        for number in range(1, 4):
            task_progress.say(connection, ONE, "info", f"line {number}\0", NOW)
        task_progress.say(connection, OTHER, "warning", "x" * 2 * LONGEST_LINE, NOW)
        found = task_progress.lines_after(connection, {ONE: 1, OTHER: 0, UUID(int=3): 0})
        assert [(line.number, line.text) for line in found[ONE]] == [(2, "line 2"), (3, "line 3")]
        assert [len(line.text) for line in found[OTHER]] == [LONGEST_LINE]
        assert UUID(int=3) not in found
        assert task_progress.lines_after(connection, {}) == {}


def test_a_runaway_is_cut_off_and_an_old_task_forgotten(engine: Engine) -> None:
    with engine.begin() as connection:
        task_progress.begin(connection, OTHER, NOW)
        query = text("update task_progress set lines = :lines")
        connection.execute(query, {"lines": MOST_LINES - 1})
        for _ in range(3):
            task_progress.say(connection, OTHER, "info", "again", NOW)
        assert len(task_progress.lines_after(connection, {OTHER: 0})[OTHER]) == 1
        task_progress.begin(connection, ONE, NOW + timedelta(days=8))
        assert set(task_progress.read(connection, [ONE, OTHER])) == {ONE}
        assert task_progress.lines_after(connection, {OTHER: 0}) == {}


def test_two_attempts_at_once_leave_no_gap_behind_a_reader(engine: Engine) -> None:
    """Whoever has seen number n has been able to see all before it."""
    seen: list[list[int]] = []

    def talk() -> None:
        for _ in range(50):
            with engine.begin() as connection:
                task_progress.say(connection, ONE, "info", "said", datetime.now(UTC))

    threads = [Thread(target=talk) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with engine.connect() as connection:
            lines = task_progress.lines_after(connection, {ONE: 0}).get(ONE, [])
            seen.append([line.number for line in lines])
    for thread in threads:
        thread.join()
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "change",
    [
        lambda c: task_progress.begin(c, ONE, NOW),
        lambda c: task_progress.enter(c, ONE, "fetch", NOW),
        lambda c: task_progress.count(c, ONE, 1, 2, "symbols", NOW),
        lambda c: task_progress.say(c, ONE, "info", "hello", NOW),
    ],
)
async def test_every_change_is_notified_once_it_is_committed(
    engine: Engine, settings: Settings, change: Callable[[Connection], None]
) -> None:
    told = notifications(settings, CHANNEL)
    assert await anext(told) is None

    def commit() -> None:
        with engine.begin() as connection:
            change(connection)

    await asyncio.to_thread(commit)
    assert await anext(told) == str(ONE)
    await told.aclose()


@pytest.mark.anyio
async def test_a_lost_connection_is_no_silence(engine: Engine, settings: Settings) -> None:
    told = notifications(settings, CHANNEL, "to-be-ended")
    await anext(told)
    end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = :name"
    with engine.connect() as connection:
        connection.execute(text(end), {"name": "to-be-ended"})
    with pytest.raises(PartUnavailable):
        await anext(told)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
