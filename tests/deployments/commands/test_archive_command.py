"""The commands that look at the archive and bring rows back, as an operator types them."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from io import StringIO

import pytest
from sqlalchemy import Engine

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from deployments import cli
from tests.storage.conftest import Scene


def autoindex(settings: Settings, *words: str) -> "subprocess.CompletedProcess[str]":
    """What the command says and how it ends, run in this process: it imports a lot."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("sys.argv", ["autoindex", *words])
        patch.setattr("sys.excepthook", sys.excepthook)
        for name, value in {**settings.environment(), "COLUMNS": "100"}.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    status = int(ended.value.code or 0)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


@pytest.fixture
def cleaned(engine: Engine, settings: Settings) -> Scene:
    scene = Scene(engine, settings.data_dir / "archive")
    scene.fill()
    scene.clean()
    return scene


def test_a_range_comes_back(cleaned: Scene, settings: Settings) -> None:
    words = ("restore", "prices", "--from", "2020-02-01", "--to", "2020-02-03")
    assert autoindex(settings, "archive").returncode == 0
    done = autoindex(settings, *words)
    assert done.stdout.startswith("6 prices rows of 2020-02-01 to 2020-02-03 restored"), done.stderr
    days = {row[1] for row in cleaned.stored()["prices"]}
    assert date(2020, 2, 3) in days
    assert date(2020, 2, 4) not in days
    again = autoindex(settings, *words).stdout
    assert again == "The archive holds no prices of 2020-02-01 to 2020-02-03 that are missing\n"


def test_an_empty_archive_restores_nothing(engine: Engine, settings: Settings) -> None:
    Scene(engine, settings.data_dir / "archive").fill()
    words = ("restore", "prices", "--from", "2020-02-01", "--to", "2020-02-03")
    said = autoindex(settings, *words).stdout
    assert said == "The archive holds no prices of 2020-02-01 to 2020-02-03 that are missing\n"


def test_foreign_files_are_named_and_ignored(cleaned: Scene, settings: Settings) -> None:
    for name in (".DS_Store", "prices/.DS_Store", "prices/2020-02/[red]\nx"):
        (cleaned.folder / name).touch()
    listed = autoindex(settings, "archive")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.endswith(
        "Ignored, not made or not finished by Autoindex: "
        ".DS_Store, prices/.DS_Store, 'prices/2020-02/[red]\\nx'\n"
    )
    done = autoindex(settings, "restore", "prices", "--from", "2020-02-01", "--to", "2020-02-29")
    assert done.stdout.startswith("58 prices rows"), done.stderr


def test_an_archive_in_the_wrong_place_stops_all(
    cleaned: Scene, settings: Settings, engine: Engine
) -> None:
    spaced = settings.model_copy(update={"data_dir": settings.data_dir.parent / "S pace"})
    wrong = settings.data_dir.parent / "S%20pace" / "archive"
    wrong.parent.mkdir()
    cleaned.folder.rename(wrong)
    for words in (("archive",), ("restore", "news", "--from", "2020-01-01", "--to", "2020-01-02")):
        done = autoindex(spaced, *words)
        assert done.returncode == 1
        assert f"an earlier version has put the archive into {wrong}" in done.stderr
    before = cleaned.stored()
    with pytest.raises(ConfigurationError, match="an earlier version"):
        Scene(engine, spaced.data_dir / "archive").clean(older_than=date(2020, 3, 20))
    assert cleaned.stored() == before


def test_the_archive_is_shown_and_a_damaged_file_named(cleaned: Scene, settings: Settings) -> None:
    damaged = cleaned.folder / "news_articles" / "2020-02" / "news_articles.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    listed = autoindex(settings, "archive")
    shown = listed.stdout
    assert listed.returncode == 1
    assert "news_articles.parquet is not the file" in " ".join(listed.stderr.split())
    assert "2020-01" in shown
    assert shown.count("verified") == 8
    assert "not the file" in " ".join(shown.replace("│", " ").split())
    before = cleaned.stored()
    done = autoindex(settings, "restore", "news", "--from", "2020-01-01", "--to", "2020-02-28")
    assert done.returncode == 1
    assert "is not the file its manifest names" in " ".join(done.stderr.split())
    assert cleaned.stored() == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("restore", "prices", "--from", "2020-02-02", "--to", "2020-02-01"), "--from"),
        (("restore", "assets", "--from", "2020-02-02", "--to", "2020-02-03"), "assets"),
        (("restore", "prices", "--from", "soon", "--to", "2020-02-03"), "soon"),
    ],
)
def test_what_makes_no_sense_is_refused(
    settings: Settings, words: Sequence[str], named: str
) -> None:
    done = autoindex(settings, *words)
    assert done.returncode != 0
    assert named in done.stderr
