"""The commands that change the universe and list it, as an operator types them."""

import getpass
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import Engine, text

from autoindex.requests import PUBLISHED_FREQUENCY, PUBLISHED_STRATEGY
from autoindex.settings import Settings
from autoindex.storage.universe import universe_changes
from deployments.commands import universe_command
from tests.deployments.commands.test_archive_command import autoindex

HEAD = "symbol,exchange,currency,name,sector,shares_outstanding,shares_outstanding_date,role"
FILE = f"""{HEAD},member_from,member_to
GE,NYSE,USD,"General Electric, Inc.",Industrials,1089000000,2022-06-30,constituent,,
KO,NYSE,USD,Coca-Cola,,,,constituent,2015-01-02,2021-12-31
SPX,NYSE,USD,S&P 500,,,,benchmark,,
"""
LISTED = f"""{HEAD},active,member_from,member_to
GE,NYSE,USD,"General Electric, Inc.",Industrials,1089000000,2022-06-30,constituent,false,,2022-12-28
KO,NYSE,USD,Coca-Cola,,,,constituent,false,2015-01-02,2021-12-31
SPX,NYSE,USD,S&P 500,,,,benchmark,true,,
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The day after the newest published session."""
    return settings.model_copy(update={"clock": datetime(2022, 12, 29, 12, tzinfo=UTC)})


@pytest.fixture
def file(engine: Engine, settings: Settings, tmp_path: Path) -> Path:
    """A file that was imported before its universe was published."""
    made = tmp_path / "stocks.csv"
    made.write_text(FILE)
    assert autoindex(settings, "universe", "import", str(made)).stdout.startswith("3 inserted")
    with engine.begin() as connection:
        level = text("insert into index_levels values (:strategy, :frequency, '2022-12-28', 100)")
        published = {"strategy": PUBLISHED_STRATEGY, "frequency": PUBLISHED_FREQUENCY}
        connection.execute(level, published)
    return made


def said(settings: Settings, *words: str) -> str:
    done = autoindex(settings, "universe", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(settings: Settings, *words: str) -> str:
    done = autoindex(settings, "universe", *words)
    assert done.returncode == 1
    return " ".join(done.stderr.split())


def test_what_is_listed_can_be_imported_without_a_change(
    settings: Settings, file: Path, engine: Engine
) -> None:
    assert said(settings, "deactivate", "GE") == "1 deactivated from 2022-12-29 on\n"
    assert said(settings, "list") == LISTED
    file.write_text(LISTED)
    assert said(settings, "import", str(file)) == "0 inserted, 0 updated, 3 unchanged\n"
    with engine.begin() as connection:
        record = universe_changes.load(connection)
    assert {one.changed_by for one in record} == {getpass.getuser()}
    assert record[-1].change == "GE: constituent from the beginning to 2022-12-28"


def test_the_members_of_a_day(settings: Settings, file: Path) -> None:
    def members(day: str) -> list[str]:
        lines = said(settings, "list", "--as-of", day).splitlines()
        return [line.partition(",")[0] for line in lines[1:]]

    assert members("2014-12-31") == ["GE", "SPX"]
    assert members("2021-12-31") == ["GE", "KO", "SPX"]
    said(settings, "deactivate", "GE", "--from", "2023-01-09")
    assert members("2023-01-08") == ["GE", "SPX"]
    assert members("2023-01-09") == ["SPX"]


def test_members_are_listed_by_the_symbols_of_the_day(settings: Settings, file: Path) -> None:
    def members(day: str) -> list[str]:
        lines = said(settings, "list", "--as-of", day).splitlines()
        return [line.partition(",")[0] for line in lines[1:]]

    said(settings, "rename", "GE", "ZEN", "--from", "2022-06-01")
    said(settings, "rename", "ZEN", "GEN", "--from", "2022-12-01")
    assert said(settings, "rename", "SPX", "SP500") == "SPX renamed to SP500\n"
    assert members("2022-05-31") == ["GE", "SPX"]
    assert members("2022-06-01") == ["SPX", "ZEN"]
    assert members("2022-11-30") == ["SPX", "ZEN"]
    assert members("2022-12-01") == ["GEN", "SPX"]
    assert members("2022-12-29") == ["GEN", "SP500"]


def test_each_command_may_be_repeated(settings: Settings, file: Path) -> None:
    assert said(settings, "activate", "KO", "GE") == "1 activated from 2022-12-29 on\n"
    assert said(settings, "activate", "KO", "GE") == "0 activated\n"
    later = refused(settings, "rename", "GE", "GEN", "--from", "2999-01-01")
    assert "--from: lies in the future; rename the stock on that day" in later
    renaming = "rename", "GE", "GEN", "--from", "2022-12-01"
    assert said(settings, *renaming) == "GE renamed to GEN\n"
    assert said(settings, *renaming) == "GE is renamed to GEN already\n"
    assert said(settings, "deactivate", "KO", "--from", "2023-01-09") == (
        "1 deactivated from 2023-01-09 on\n"
    )
    assert said(settings, "deactivate", "KO", "--from", "2023-01-09") == "0 deactivated\n"


def test_the_published_past_is_refused_by_line(settings: Settings, file: Path) -> None:
    file.write_text(FILE.replace(",constituent,,\n", ",constituent,2022-01-03,\n"))
    reason = refused(settings, "import", str(file))
    assert "stocks.csv: line 2, column member_from: would change what is published up to" in reason
    file.write_text(FILE.replace("2021-12-31", "2014-12-31"))
    assert "line 3, column member_to: lies before member_from" in refused(
        settings, "import", str(file)
    )
    reason = refused(settings, "deactivate", "GE", "--from", "2022-12-01")
    assert reason == "Error: --from: 2022-12-01 is published, as are all days up to 2022-12-28"
    assert "KO is another stock's already" in refused(settings, "rename", "GE", "KO")
    assert "NEW: must be a ticker in capitals" in refused(settings, "rename", "GE", "ge ")
    assert "not in the active universe: XOM" in refused(settings, "activate", "GE", "XOM")


def test_a_terminal_shows_a_table(settings: Settings, file: Path) -> None:
    console = Console(file=StringIO(), width=140)
    console.print(universe_command.table(universe_command.rows(settings, None)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert [word for word in shown.splitlines()[1].split() if word.isalpha()] == [
        *("symbol", "name", "exchange", "sector", "role", "active", "from", "to")
    ]
    assert date(2021, 12, 31).isoformat() in shown


@pytest.mark.usefixtures("file")
def test_a_narrow_terminal_cuts_nothing(settings: Settings) -> None:
    console = Console(file=StringIO(), width=60)
    console.print(universe_command.table(universe_command.rows(settings, None)))
    assert isinstance(console.file, StringIO)
    assert "…" not in console.file.getvalue()
