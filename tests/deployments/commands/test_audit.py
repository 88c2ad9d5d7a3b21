"""Every command that changes something leaves an entry in the audit."""

import getpass
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text

from autoindex.settings import Settings
from autoindex.storage import audit
from autoindex.storage.audit import Entry, Wanted
from deployments import cli
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.deployments.commands.test_archive_command import autoindex
from tests.deployments.commands.test_prices_command import store

# `up` and `demo` migrate and set up as `migrate` and `bootstrap` do.
READS: Final = {"up", "demo", "token", "archive", "index history", "universe list"}
PREFECT: Final = "http://127.0.0.1:1/api"


def commands(group: Any, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} ")
        else:
            yield prefix + name


def test_every_command_that_changes_something_is_tried() -> None:
    group = typer.main.get_command(cli.app)
    assert set(commands(group)) - READS == ACTS.keys() - {"prices confirm SYMBOL"}


def entries(engine: Engine) -> list[Entry]:
    with engine.connect() as connection:
        return audit.load(connection, Wanted(), limit=1_000, offset=0)[1]


class Desk:
    """An operator, and a database with two stocks."""

    def __init__(self, engine: Engine, settings: Settings, server: EmbeddedPostgres) -> None:
        self.engine, self.settings, self.server = engine, settings, server
        store(engine)

    def says(self, *words: str) -> None:
        done = autoindex(self.settings, *words)
        assert done.returncode == 0, done.stderr

    def imports(self) -> None:
        file = Path(self.settings.data_dir, "stocks.csv")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("symbol,exchange,currency,name\nPG,NYSE,USD,Procter\n")
        self.says("universe", "import", str(file))

    def activates(self) -> None:
        self.says("universe", "deactivate", "GE")
        self.says("universe", "activate", "GE")

    def migrates(self) -> None:
        url = self.server.url("audited")
        self.settings = self.settings.model_copy(update={"database_url": SecretStr(url)})
        self.says("migrate")
        self.engine = create_engine(url)

    def sets_up(self) -> None:
        with temporary_settings({PREFECT_API_URL: PREFECT}):
            done = autoindex(self.settings, "bootstrap")
        assert "no Prefect server answers" in done.stderr

    def accepts_a_history(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("update fetches set asked_at = null"))
        self.says("prices", "confirm", "KO")


ACTS: Final[dict[str, tuple[str, Callable[[Desk], None]]]] = {
    "universe import": ("change asset", Desk.imports),
    "universe activate": ("change asset", Desk.activates),
    "universe deactivate": ("change asset", lambda desk: desk.says("universe", "deactivate", "GE")),
    "universe rename": ("rename asset", lambda desk: desk.says("universe", "rename", "GE", "GEN")),
    "prices confirm": (
        "confirm close",
        lambda desk: desk.says("prices", "confirm", "GE", "2022-12-28"),
    ),
    "prices confirm SYMBOL": ("confirm history", Desk.accepts_a_history),
    "restore": (
        "restore",
        lambda desk: desk.says("restore", "prices", "--from", "2020-02-01", "--to", "2020-02-03"),
    ),
    "migrate": ("migrate", Desk.migrates),
    "bootstrap": ("bootstrap", Desk.sets_up),
}


@pytest.mark.parametrize("command", ACTS)
def test_what_a_command_changes_is_recorded(
    engine: Engine, settings: Settings, server: EmbeddedPostgres, command: str
) -> None:
    action, act = ACTS[command]
    desk = Desk(engine, settings, server)
    before = [] if command == "migrate" else entries(engine)
    act(desk)
    made = [one for one in entries(desk.engine) if one not in before]
    desk.engine.dispose()
    (found, *_) = [one for one in made if one.action == action]
    assert (found.user, found.request_id) == (getpass.getuser(), None)
    assert found.subject or found.after
