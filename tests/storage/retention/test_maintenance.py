"""Old files go, young ones and others' stay; the database is vacuumed beside its users."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from autoindex.settings import Settings
from autoindex.storage import deliveries, stored_reports, tables
from autoindex.storage.retention import maintenance
from autoindex.storage.runs import idempotency
from autoindex.storage.stored_reports import StoredReport

NOW = datetime(2022, 12, 28, 22, 0, tzinfo=UTC)
WEEK_AGO = NOW - timedelta(days=7)
OLD, YOUNG = NOW - timedelta(days=8), NOW - timedelta(days=6)


def write(path: Path, when: datetime) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")
    os.utime(path, (when.timestamp(), when.timestamp()))
    return path


def task(number: int) -> str:
    """The folder of a task."""
    return str(UUID(int=number))


def record(engine: Engine, number: int, path: str, made: datetime) -> UUID:
    task_id = UUID(int=number)
    row = StoredReport(
        task_id, "daily", "json", date(2022, 12, 1), date(2022, 12, 2), path, "application/json",
        7, "00" * 32, None, made,
    )  # fmt: skip
    with engine.begin() as connection:
        stored_reports.record(connection, row)
        deliveries.claim(connection, task_id, "ann@example.org", f"<{number}@example.org>")
    return task_id


def age(folder: Path) -> None:
    """Make a folder and all in it old."""
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (OLD.timestamp(), OLD.timestamp()), follow_symlinks=False)


def test_only_old_temporary_files_of_ours_go(settings: Settings) -> None:
    ours = settings.temporary_dir / f"autoindex-run-{task(1)}-abc_0123"
    write(ours / "openpyxl.x" / "y", OLD)
    busy = settings.temporary_dir / f"autoindex-run-{task(2)}-abc_0123"
    write(busy / "just-written", YOUNG)
    age(ours)
    old = write(settings.reports_dir / task(1) / ".autoindex-unfinished-abc_0123", OLD)
    young = write(settings.reports_dir / task(2) / ".autoindex-unfinished-abc_0123", YOUNG)
    os.utime(busy, (OLD.timestamp(), OLD.timestamp()))
    assert maintenance.clear_temporary(settings, WEEK_AGO, dry_run=True) == 2
    assert old.exists()
    assert ours.exists()
    assert maintenance.clear_temporary(settings, WEEK_AGO) == 2
    assert not old.exists()
    assert not ours.exists()
    assert young.exists()
    assert busy.exists()


STRANGERS = [
    "tmp/important.txt",
    "tmp/tmpabc_0123",
    "tmp/autoindex-run-notes/a",
    f"tmp/autoindex-run-{task(9)}-abc_0123",  # a file, not a folder
    "reports/annual-2020.pdf",
    "reports/autoindex-composite-weekly-2022-12-28.pdf",
    "reports/2022/autoindex-composite-weekly-2022-12-28.pdf",
    "reports/.autoindex-unfinished-abc_0123",
    f"reports/{task(9)}/notes.txt",
    f"reports/{task(9)}/copy of autoindex-composite-weekly-2022-12-28.pdf",
    f"reports/{task(9)}/.autoindex-unfinished-by-hand.pdf",
    f"reports/{task(9)}/.writing-abc_0123",
    f"reports/{task(9)}/deep/autoindex-composite-weekly-2022-12-28.pdf",
    f"reports/{task(8)}/autoindex-composite-weekly-2022-12-28.pdf/a",  # a folder, not a file
]


def test_what_is_not_ours_stays(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    strangers = [write(settings.data_dir / name, OLD) for name in STRANGERS]
    name = "autoindex-composite-weekly-2022-12-28.pdf"
    elsewhere = write(tmp_path / "elsewhere" / name, OLD)
    write(tmp_path / "elsewhere" / ".autoindex-unfinished-abc_0123", OLD)
    links = [
        settings.temporary_dir / f"autoindex-run-{task(7)}-abc_0123",
        settings.reports_dir / task(7),
        settings.reports_dir / task(9) / name,
    ]
    for link in links:
        link.symlink_to(elsewhere if link.suffix else elsewhere.parent)
    (settings.reports_dir / "empty").mkdir()
    age(settings.data_dir)
    before = sorted(settings.data_dir.rglob("*"))
    for dry_run in (True, False):
        assert maintenance.clear_temporary(settings, NOW, dry_run=dry_run) == 0
        assert maintenance.clear_reports(engine, settings, NOW, dry_run=dry_run) == 0
    assert sorted(settings.data_dir.rglob("*")) == before
    assert all(path.exists() for path in (*strangers, elsewhere, *elsewhere.parent.iterdir()))


def test_folders_that_do_not_exist_hold_nothing(settings: Settings, engine: Engine) -> None:
    assert maintenance.clear_temporary(settings, NOW) == 0
    assert maintenance.clear_reports(engine, settings, NOW) == 0


def test_expired_reports_go_with_file_and_row(settings: Settings, engine: Engine) -> None:
    old = write(settings.reports_dir / "old.json", OLD)
    young = write(settings.reports_dir / "young.json", YOUNG)
    gone = record(engine, 1, "old.json", OLD)
    kept = record(engine, 2, "young.json", YOUNG)
    record(engine, 3, "never-there.json", OLD)
    orphan = write(
        settings.reports_dir / task(4) / "autoindex-composite-daily-2022-12-01.xlsx", OLD
    )
    assert maintenance.clear_reports(engine, settings, WEEK_AGO, dry_run=True) == 3
    assert old.exists()
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 3
    assert not old.exists()
    assert not orphan.exists()
    assert young.exists()
    with engine.connect() as connection:
        assert stored_reports.find(connection, gone) is None
        assert stored_reports.find(connection, kept) is not None
        # Its run may be there still, and run again.
        assert deliveries.find(connection, gone, "ann@example.org") is not None
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 0


def test_a_reports_folder_goes_with_it(settings: Settings, engine: Engine) -> None:
    """Each task has a folder of its own: empty ones would grow in number for ever."""
    old = write(settings.reports_dir / task(1) / "old.pdf", OLD).parent
    shared = write(settings.reports_dir / task(2) / "old.pdf", OLD).parent
    write(shared / "young.pdf", YOUNG)
    for folder in (old, shared):
        os.utime(folder, (OLD.timestamp(), OLD.timestamp()))
    record(engine, 1, f"{task(1)}/old.pdf", OLD)
    record(engine, 2, f"{task(2)}/old.pdf", OLD)
    record(engine, 3, f"{task(2)}/young.pdf", YOUNG)
    just_made = settings.reports_dir / task(3)  # where a task is about to write
    just_made.mkdir()
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 2
    assert [shared, just_made] == sorted(p for p in settings.reports_dir.iterdir() if p.is_dir())


def test_more_reports_than_a_batch_go(settings: Settings, engine: Engine) -> None:
    paths = [write(settings.reports_dir / f"{number}.json", OLD) for number in range(1_001)]
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into reports select gen_random_uuid(), 'daily', 'json', :day, :day,"
                " n || '.json', 'application/json', 7, '', null, :made"
                " from generate_series(0, 1000) n"
            ),
            {"day": OLD.date(), "made": OLD},
        )
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 1_001
    assert not any(path.exists() for path in paths)


def test_a_young_reports_file_stays_whatever_its_age(settings: Settings, engine: Engine) -> None:
    name = f"{task(1)}/autoindex-composite-daily-2022-12-01.json"
    named = write(settings.reports_dir / name, OLD)
    record(engine, 1, name, YOUNG)
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 0
    assert named.exists()


def test_a_path_that_leads_out_of_the_folder_is_not_followed(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    outside = write(tmp_path / "outside", OLD)
    other = write(settings.reports_dir / task(5) / "young.pdf", YOUNG)
    (settings.reports_dir / "link.pdf").symlink_to(other)
    (settings.reports_dir / "folder").symlink_to(other.parent)
    paths = ("../../outside", str(outside), "link.pdf", "folder/young.pdf", f"{task(5)}", "")
    for number, path in enumerate(paths):
        record(engine, number, path, OLD)
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == len(paths)
    assert outside.exists()
    assert other.exists()
    assert (settings.reports_dir / "link.pdf").is_symlink()


def test_what_was_noted_of_a_run_stays_as_long_as_the_run(engine: Engine) -> None:
    """In pages: there are more than Prefect answers for at a time."""
    with engine.begin() as connection:
        made = [idempotency.book(connection, str(n), "a refresh") for n in range(450)]
        for one in made:
            deliveries.claim(connection, one.run_key, "ann@example.org", "<1@example.org>")
        connection.execute(tables.bookings.update().values(booked_at=OLD))
        connection.execute(tables.deliveries.update().values(claimed_at=OLD))
        young = idempotency.book(connection, "young", "a refresh")
        deliveries.claim(connection, young.run_key, "ann@example.org", "<1@example.org>")
    runs = {one.run_key for one in made[::3]}
    kept = runs.intersection
    for clear in (maintenance.clear_bookings, maintenance.clear_mails):
        assert clear(engine, WEEK_AGO, kept, dry_run=True) == 300
        assert clear(engine, WEEK_AGO, kept) == 300
        assert clear(engine, WEEK_AGO, kept) == 0
    with engine.begin() as connection:
        left = set(connection.scalars(text("select run_key from bookings")))
        assert left == runs | {young.run_key}
        assert left == set(connection.scalars(text("select task_id from deliveries")))


def test_a_booking_that_has_another_run_meanwhile_stays(engine: Engine) -> None:
    with engine.begin() as connection:
        first = idempotency.book(connection, "work", "a refresh")
        second = idempotency.renew(connection, first)
        assert idempotency.forget(connection, [("work", first.run_key)]) == 0
        assert idempotency.forget(connection, [("work", second.run_key)]) == 1


@pytest.mark.parametrize("busy", [False, True])
def test_space_is_won_back(engine: Engine, busy: bool) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into news_articles (published_at, headline, url, source)"
                " select now(), repeat('headline', 20), 'https://news.test/' || n, 'wire'"
                " from generate_series(1, 20000) n"
            )
        )
        connection.execute(text("delete from news_articles"))
    with engine.connect() as user:
        user.execute(text("lock table news_articles in row exclusive mode"))
        if not busy:
            user.rollback()
        done = maintenance.optimise(engine)
    assert done.bytes_before > 4_000_000
    if busy:
        # The file's end stays; vacuum adds a page of its own that says what is free.
        assert done.bytes_after <= done.bytes_before + 100_000
        assert 4_000_000 < done.bytes_reusable < done.bytes_before
    else:
        assert done.bytes_after < done.bytes_before / 2
        assert done.bytes_reusable < 1_000_000
    assert done.seconds > 0
    with engine.connect() as connection:
        vacuumed = text("select count(*) from pg_stat_user_tables where last_analyze is not null")
        assert connection.execute(vacuumed).scalar_one() >= 12


def test_room_between_rows_that_stay_is_counted(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into news_articles (published_at, headline, url, source)"
                " select now(), repeat('headline', n % 2 * 20 + 1), 'https://news.test/' || n, 'a'"
                " from generate_series(1, 20000) n"
            )
        )
        connection.execute(text("delete from news_articles where length(headline) > 8"))
    done = maintenance.optimise(engine)
    with engine.connect() as connection:
        used = text("select sum(pg_column_size(n.*) + 4) from news_articles n")
        size = connection.execute(text("select pg_relation_size('news_articles')")).scalar_one()
        free = size - int(connection.execute(used).scalar_one())
    assert free > size / 2
    assert done.bytes_reusable == pytest.approx(free, rel=0.2)
