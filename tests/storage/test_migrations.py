"""Revisions over tables with rows: what was stored before is there afterwards."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text

from autoindex.requests import Frequency, Strategy
from autoindex.storage import migrate
from autoindex.storage.index import corrections, index_history, level_versions, publications
from autoindex.storage.index.index_history import Window
from autoindex.storage.index.level_versions import Launch
from autoindex.storage.schema_revision import REVISION
from autoindex.storage.universe import memberships, share_counts, universe_changes
from autoindex.storage.universe.memberships import Span
from autoindex.storage.universe.share_counts import StoredCount
from autoindex.storage.universe.universe_changes import AssetChange
from deployments.local.embedded_postgres import EmbeddedPostgres

SCRIPTS = Path(migrate.__file__).parent / "migrations"
UPDATED = datetime(2022, 11, 30, 23, tzinfo=UTC)
ASSETS = """
    insert into assets (
        symbol, exchange, currency, name, shares_outstanding, shares_outstanding_date, role,
        active, updated_at
    ) values
        ('GE', 'NYSE', 'USD', 'GE', 1089000000, '2022-10-17', 'constituent', true, :at),
        ('KO', 'NYSE', 'USD', 'Coca-Cola', 4324000000, null, 'constituent', false, :at),
        ('SPX', 'NYSE', 'USD', 'S&P 500', null, null, 'benchmark', true, :at)
"""


def revise(connection: Connection, to: str, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(config, to)


@pytest.fixture
def old(server: EmbeddedPostgres) -> Iterator[Engine]:
    """A database at revision 0010, with three assets."""
    migrate.create_database(server.url("old"))
    made = create_engine(server.url("old"))
    with made.begin() as connection:
        revise(connection, "0010")
        connection.execute(text(ASSETS), {"at": UPDATED})
    yield made
    made.dispose()
    admin = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("drop database old with (force)"))
    admin.dispose()


def test_the_newest_revision_is_the_one_that_the_parts_need() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def publish(connection: Connection) -> None:
    levels = [("composite", "monthly", "2022-12-27"), ("momentum", "daily", "2022-12-28")]
    for strategy, frequency, session in levels:
        values: dict[str, Any] = {"s": strategy, "f": frequency, "d": session}
        connection.execute(text("insert into index_levels values (:s, :f, :d, 100)"), values)


@pytest.mark.parametrize("published", [True, False])
def test_assets_become_members_with_dates(old: Engine, published: bool) -> None:
    with old.begin() as connection:
        if published:
            publish(connection)
        revise(connection, "0011")
        ids = dict(connection.execute(text("select symbol, id from assets")).tuples().all())
        members = memberships.timelines(connection)
        assert members[ids["GE"]] == (Span("constituent", date.min, date.max),)
        assert members[ids["SPX"]] == (Span("benchmark", date.min, date.max),)
        # The newest level of any index.
        until = (Span("constituent", date.min, date(2022, 12, 28)),)
        assert members[ids["KO"]] == (until if published else ())
        updated = UPDATED.date()
        as_of = date(2022, 10, 17)
        assert share_counts.load(connection) == [
            StoredCount(ids["GE"], as_of, 1.089e9, as_of, updated, 1.089e9),
            StoredCount(ids["KO"], updated, 4.324e9, updated, updated, 4.324e9),
        ]
        revise(connection, "0010", down=True)
        kept = text("select symbol, role, active, shares_outstanding from assets order by symbol")
        ko = "constituent", False, 4324000000
        assert connection.execute(kept).all() == [
            ("GE", "constituent", True, 1089000000),
            ("KO", *ko),
            ("SPX", "benchmark", True, None),
        ]


def test_members_with_dates_let_prices_and_levels_be_read(old: Engine) -> None:
    with old.begin() as connection:
        publish(connection)
    with old.begin() as connection:
        revise(connection, "0011")
        # What is still locked when all is done; assets, of all tables, for an instant.
        locked = text("""
            select relname from pg_locks join pg_class on pg_class.oid = relation
            where mode = 'AccessExclusiveLock' and pid = pg_backend_pid() and relkind = 'r'
        """)
        made = {"memberships", "share_counts", "universe_changes"}
        assert set(connection.scalars(locked)) - made <= {"assets"}
        with old.begin() as reader:
            reader.execute(text("set local lock_timeout = '5s'"))
            for table in ("prices", "allocations", "index_levels", "metrics"):
                reader.execute(text(f"select count(*) from {table}"))  # noqa: S608


def test_stored_levels_become_the_first_version_of_a_first_publication(old: Engine) -> None:
    launched = datetime(2022, 11, 30, 22, tzinfo=UTC)
    with old.begin() as connection:
        publish(connection)
        due = "insert into index_renewals values ('momentum', 'daily', '2022-12-20', 3)"
        connection.execute(text(due))
        result = """
            insert into task_results (task_id, kind, created_at, expires_at)
            values (gen_random_uuid(), 'compute', :at, :at)
        """
        connection.execute(text(result), {"at": launched})
        revise(connection, "0012")
    with old.connect() as connection:
        for strategy, frequency, session in (
            (Strategy.COMPOSITE, Frequency.MONTHLY, date(2022, 12, 27)),
            (Strategy.MOMENTUM, Frequency.DAILY, date(2022, 12, 28)),
        ):
            assert level_versions.launch(connection, strategy, frequency) == Launch(
                launched, session
            )
            (made,) = level_versions.history(connection, strategy, frequency, session)
            assert (made.version, made.published_at, made.level) == (1, launched, 100)
            for instant, count in ((launched, 1), (launched - timedelta(seconds=1), 0)):
                window = Window(strategy, frequency, as_of=instant)
                assert index_history.levels(connection, window, limit=9, offset=0).total == count
        assert not corrections.load(connection, Strategy.COMPOSITE, Frequency.MONTHLY)
        (waiting,) = corrections.load(connection, Strategy.MOMENTUM, Frequency.DAILY)
        assert (waiting.session, waiting.pending, waiting.symbol) == (
            date(2022, 12, 20),
            False,
            None,
        )
    with old.begin() as connection:
        days = pd.DatetimeIndex(["2022-12-28", "2022-12-29"])
        which = (Strategy.MOMENTUM, Frequency.DAILY)
        changed = pd.Series([99.0, 98.0], days)
        revise(connection, "head")
        publications.publish(connection, *which, changed, cause="new sessions", task_id=None)
        before = Window(*which, as_of=launched)
        assert index_history.levels(connection, before, limit=9, offset=0).rows[0][1] == 100
        revise(connection, "0011", down=True)
        due = "select strategy, due_from from index_renewals order by strategy"
        assert connection.execute(text(due)).all() == [
            ("composite", None),
            ("momentum", date(2022, 12, 20)),
        ]


def test_recorded_changes_of_the_universe_begin_the_audit(old: Engine) -> None:
    with old.begin() as connection:
        revise(connection, "0016")
        ge, ko, gone = connection.scalars(text("select id from assets order by symbol")).all()
        record = """
            insert into universe_changes (changed_at, changed_by, asset_id, change, former_symbol)
            values (:at, 'ann', :ge, 'GE: no member', null),
                   (:at, 'bob', :ko, 'KOX renamed to KO', 'KOX'),
                   (:at, 'bob', :gone, 'SPX: no member', null)
        """
        connection.execute(text(record), {"at": UPDATED, "ge": ge, "ko": ko, "gone": gone})
        connection.execute(text("delete from assets where symbol = 'SPX'"))
        revise(connection, "0017")
        found = universe_changes.load(connection)
        assert [(one.changed_at, one.changed_by, one.asset_id, one.change) for one in found] == [
            (UPDATED, "ann", ge, "GE: no member"),
            (UPDATED, "bob", ko, "KOX renamed to KO"),
            (UPDATED, "bob", None, "SPX: no member"),
        ]
        assert universe_changes.former_symbols(connection) == {"KOX": ko}
        universe_changes.record(connection, "eve", [AssetChange(ge, "GE: a member")])
        revise(connection, "0016", down=True)
        kept = "select changed_by, asset_id, former_symbol from universe_changes order by id"
        assert connection.execute(text(kept)).all() == [
            ("ann", ge, None),
            ("bob", ko, "KOX"),
            ("bob", None, None),
            ("eve", ge, None),
        ]
