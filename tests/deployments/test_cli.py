"""The command's errors: one sentence that says what to do, and exit status 1."""

import os
import subprocess
import sys
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console

from autoindex.settings import Settings
from autoindex.storage.universe import assets
from deployments import cli
from deployments.commands import universe_command
from deployments.database_connection import connected
from deployments.local.console import Progress
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.bounds import HANG_SECONDS
from tests.pgbouncer import pgbouncer
from tests.prefect_server import Receiver


def said(capsys: pytest.CaptureFixture[str], *arguments: str, out: str = "") -> str:
    """What a failing command writes as its error; `out` is what it has said before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["autoindex", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 1
    output = capsys.readouterr()
    assert out in output.out if out else output.out == ""
    assert "Traceback" not in output.err
    return output.err


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder in which no stack has ever run."""
    monkeypatch.setenv("AUTOINDEX_DATA_DIR", str(tmp_path / "var"))
    return tmp_path / "var"


@pytest.mark.parametrize(
    "command", [("migrate",), ("universe", "list"), ("universe", "deactivate", "A")]
)
def test_without_a_database_it_says_how_to_start_one(
    capsys: pytest.CaptureFixture[str], folder: Path, command: tuple[str, ...]
) -> None:
    error = said(capsys, *command)
    assert f"the embedded PostgreSQL in {folder}: start it with `make up`" in error
    assert "AUTOINDEX_DATA_DIR" in error


def test_an_unreachable_database_is_named_by_its_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINDEX_DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/nowhere")
    error = said(capsys, "migrate")
    assert "AUTOINDEX_DATABASE_URL" in error
    assert "Connection refused" in error
    assert "hunter2" not in error


def test_a_pooler_that_keeps_no_session_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    server: EmbeddedPostgres,
    tmp_path: Path,
) -> None:
    with pgbouncer(server, tmp_path, pool_mode="transaction") as pooler:
        monkeypatch.setenv("AUTOINDEX_DATABASE_URL", pooler.url("postgres"))
        error = said(capsys, "migrate")
    assert "settings, notifications, locks do not hold" in error
    assert "set pool_mode = session" in error


def test_a_misspelt_variable_is_named_with_the_nearest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINDEX_DATABSE_URL", "postgresql://me:hunter2@127.0.0.1:1/nowhere")
    error = said(capsys, "migrate")
    assert "AUTOINDEX_DATABSE_URL is not a setting of Autoindex" in error
    assert "did you mean AUTOINDEX_DATABASE_URL?" in error
    assert "hunter2" not in error


def test_nothing_of_a_wrong_universe_is_imported(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    database_url: str,
) -> None:
    monkeypatch.setenv("AUTOINDEX_DATABASE_URL", database_url)
    file = tmp_path / "stocks.csv"
    file.write_text("symbol,exchange,currency,name\nKO,NYSE,USD,Coca-Cola\nge,NYSE,USD,GE\n")
    assert "line 3, column symbol: must be a ticker" in said(
        capsys, "universe", "import", str(file)
    )
    with connected(Settings()) as connection:
        assert assets.list_assets(connection) == []
    file.write_text("symbol,exchange,currency,name\nKO,NYSE,USD,Coca-Cola\n")
    with Progress(Console(file=StringIO())).passing("Import") as step:
        universe_command.import_file(Settings(), file, step)
    file.write_text("symbol,exchange,currency,name\nVOD,LSE,GBP,Vodafone\n")
    error = said(capsys, "universe", "import", str(file))
    assert "line 2, column currency: is GBP, but the universe is in USD" in error
    file.write_text("symbol,exchange,currency,name\nSHEL,LSE,USD,Shell\n")
    error = said(capsys, "universe", "import", str(file))
    assert "line 2, column exchange: LSE does not trade by the calendar XNYS" in error
    with connected(Settings()) as connection:
        assert [one.symbol for one in assets.list_assets(connection)] == ["KO"]


def test_an_absent_prefect_server_is_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    server: EmbeddedPostgres,
) -> None:
    monkeypatch.setenv("AUTOINDEX_DATABASE_URL", server.url("bootstrapped"))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        error = said(capsys, "bootstrap", out="✓ Database")
    assert "no Prefect server answers at http://127.0.0.1:1/api" in error
    assert "PREFECT_API_URL" in error


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "see PREFECT_API_AUTH_STRING"),
        (404, "PREFECT_API_URL must end in /api"),
        (500, "the Prefect server can't be used"),
    ],
)
def test_a_prefect_server_that_refuses_us_is_told_from_one_that_is_away(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    server: EmbeddedPostgres,
    status: int,
    reason: str,
) -> None:
    monkeypatch.setenv("AUTOINDEX_DATABASE_URL", server.url("bootstrapped"))
    with (
        Receiver(status) as there,
        temporary_settings({PREFECT_API_URL: f"http://{there.address}/api"}),
    ):
        assert reason in said(capsys, "bootstrap", out="✓ Database")


def test_a_database_without_tables_says_how_to_make_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server: EmbeddedPostgres
) -> None:
    monkeypatch.setenv("AUTOINDEX_DATABASE_URL", server.url("postgres"))
    assert "run `autoindex bootstrap`" in said(capsys, "universe", "list")


def test_a_token_needs_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    error = said(capsys, "token", "--user", "me", "--scope", "tasks:read")
    assert "`make up`" in error
    assert "AUTOINDEX_JWT_SECRET" in error


def test_a_folder_that_cannot_be_written_to_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINDEX_DATA_DIR", "/proc/nowhere")
    error = said(capsys, "up")
    assert "can't write to /proc/nowhere" in error
    assert "AUTOINDEX_DATA_DIR" in error


def test_no_error_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "0123456789abcdef"
    monkeypatch.setenv("AUTOINDEX_TWELVE_DATA_API_KEY", key)
    monkeypatch.setenv("AUTOINDEX_DATA_DIR", f"/proc/{key}")
    assert "can't write to /proc/***" in said(capsys, "up")
    cli._show_masked(ValueError, ValueError(f"no way with {key}"), None)
    assert "ValueError: no way with ***" in capsys.readouterr().err


def test_two_parts_cannot_share_a_port(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("API", "PREFECT", "SANDBOX"):
        monkeypatch.setenv(f"AUTOINDEX_{part}_PORT", "18999")
    assert "AUTOINDEX_API_PORT and AUTOINDEX_PREFECT_PORT are both 18999" in said(capsys, "up")


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["autoindex", "--version"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"autoindex {version('autoindex')}\n"


def test_a_shell_completes_commands_and_sees_no_warning() -> None:
    asked = {"_AUTOINDEX_COMPLETE": "complete_bash", "COMP_WORDS": "autoindex uni"}
    done = subprocess.run(
        [Path(sys.executable).with_name("autoindex")],
        env={**os.environ, **asked, "COMP_CWORD": "1", "AUTOINDEX_DATABSE_URL": "misspelt"},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("universe\n", "")


def test_what_libraries_warn_of_is_no_error_whatever_the_shell_says(tmp_path: Path) -> None:
    asked = {
        "PYTHONWARNINGS": "error",
        "AUTOINDEX_CALENDAR": "XLON",
        "AUTOINDEX_DATA_DIR": str(tmp_path),
        "AUTOINDEX_JWT_SECRET": "correct-horse-battery-staple-and-more",
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("autoindex"), "token", "--user=a", "--scope=tasks:read"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
