"""Old files go, young ones and others' stay; the database is vacuumed beside its users."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from autoindex.settings import Settings
from autoindex.storage import deliveries, maintenance, reports
from autoindex.storage.reports import StoredReport

NOW = datetime(2022, 12, 28, 22, 0, tzinfo=UTC)
WEEK_AGO = NOW - timedelta(days=7)
OLD, YOUNG = NOW - timedelta(days=8), NOW - timedelta(days=6)


def write(path: Path, when: datetime) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")
    os.utime(path, (when.timestamp(), when.timestamp()))
    return path


def record(engine: Engine, number: int, path: str, made: datetime) -> UUID:
    task_id = UUID(int=number)
    row = StoredReport(
        task_id, "daily", "json", date(2022, 12, 1), date(2022, 12, 2), path, "application/json",
        7, "00" * 32, None, made,
    )  # fmt: skip
    with engine.begin() as connection:
        reports.record(connection, row)
        deliveries.claim(connection, task_id, "ann@example.org", f"<{number}@example.org>")
    return task_id


def test_only_old_temporary_files_go(settings: Settings, tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "kept", OLD)
    old = [
        write(settings.temporary_dir / "a", OLD),
        write(settings.temporary_dir / "deep" / "er" / "b", OLD),
        write(settings.reports_dir / "2022" / ".writing-abc", OLD),
    ]
    young = [
        write(settings.temporary_dir / "c", YOUNG),
        write(settings.reports_dir / ".writing-def", YOUNG),
        write(settings.reports_dir / "report.pdf", OLD),
    ]
    (settings.temporary_dir / "link").symlink_to(elsewhere.parent, target_is_directory=True)
    for folder in (settings.temporary_dir / "deep" / "er", settings.temporary_dir / "deep"):
        os.utime(folder, (OLD.timestamp(), OLD.timestamp()))
    assert maintenance.clear_temporary(settings, WEEK_AGO, dry_run=True) == len(old)
    assert all(path.exists() for path in old)
    assert maintenance.clear_temporary(settings, WEEK_AGO) == len(old)
    assert not any(path.exists() for path in old)
    assert not (settings.temporary_dir / "deep").exists()
    assert all(path.exists() for path in (*young, elsewhere))


def test_folders_that_do_not_exist_hold_nothing(settings: Settings, engine: Engine) -> None:
    assert maintenance.clear_temporary(settings, NOW) == 0
    assert maintenance.clear_reports(engine, settings, NOW) == 0


def test_expired_reports_go_with_file_row_and_mail(settings: Settings, engine: Engine) -> None:
    old = write(settings.reports_dir / "old.json", OLD)
    young = write(settings.reports_dir / "young.json", YOUNG)
    gone = record(engine, 1, "old.json", OLD)
    kept = record(engine, 2, "young.json", YOUNG)
    record(engine, 3, "never-there.json", OLD)
    write(settings.reports_dir / ".writing-old", OLD)
    write(settings.reports_dir / "orphan.pdf", OLD)
    assert maintenance.clear_reports(engine, settings, WEEK_AGO, dry_run=True) == 3
    assert old.exists()
    assert maintenance.clear_temporary(settings, WEEK_AGO) == 1
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 3
    assert not old.exists()
    assert young.exists()
    with engine.connect() as connection:
        assert reports.find(connection, gone) is None
        assert deliveries.find(connection, gone, "ann@example.org") is None
        assert reports.find(connection, kept) is not None
        assert deliveries.find(connection, kept, "ann@example.org") is not None
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 0


def test_a_reports_folder_goes_with_it(settings: Settings, engine: Engine) -> None:
    """Each task has a folder of its own: empty ones would grow in number for ever."""
    old = write(settings.reports_dir / "1" / "old.pdf", OLD).parent
    shared = write(settings.reports_dir / "2" / "old.pdf", OLD).parent
    write(shared / "young.pdf", YOUNG)
    for folder in (old, shared):
        os.utime(folder, (OLD.timestamp(), OLD.timestamp()))
    record(engine, 1, "1/old.pdf", OLD)
    record(engine, 2, "2/old.pdf", OLD)
    record(engine, 3, "2/young.pdf", YOUNG)
    just_made = settings.reports_dir / "3"  # where a task is about to write
    just_made.mkdir()
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 2
    assert [shared, just_made] == sorted(p for p in settings.reports_dir.iterdir() if p.is_dir())


def test_old_records_of_mails_go(settings: Settings, engine: Engine) -> None:
    record(engine, 1, "young.json", YOUNG)
    with engine.begin() as connection:
        claimed_at = text("update deliveries set claimed_at = :old")
        connection.execute(claimed_at, {"old": OLD})
    record(engine, 2, "young.json", YOUNG)
    assert maintenance.clear_mails(engine, WEEK_AGO, dry_run=True) == 1
    assert maintenance.clear_mails(engine, WEEK_AGO) == 1
    assert maintenance.clear_mails(engine, WEEK_AGO) == 0


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


def test_old_files_that_are_no_reports_go_too(settings: Settings, engine: Engine) -> None:
    orphan = write(settings.reports_dir / "orphan.pdf", OLD)
    named = write(settings.reports_dir / "named.json", OLD)
    record(engine, 1, "named.json", YOUNG)
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 1
    assert not orphan.exists()
    assert named.exists()


def test_a_path_that_leads_out_of_the_folder_is_not_followed(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    outside = write(tmp_path / "outside", OLD)
    record(engine, 1, "../../outside", OLD)
    record(engine, 2, str(outside), OLD)
    assert maintenance.clear_reports(engine, settings, WEEK_AGO) == 2
    assert outside.exists()


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
