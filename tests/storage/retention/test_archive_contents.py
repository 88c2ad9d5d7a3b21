"""What lies in an archive, whoever has put it there."""

import subprocess
from datetime import date
from pathlib import Path
from shutil import rmtree
from urllib.parse import quote
from uuid import uuid4

import fsspec
import pyarrow as pa
import pytest

from autoindex.errors import ConfigurationError
from autoindex.storage.retention.archive import MonthArchive
from autoindex.storage.retention.archive_contents import check_place, foreign, months

SCHEMA = pa.schema([("session", pa.int64())])
MAY = date(2021, 5, 1)


def fill(url: str, *wanted: date) -> None:
    for month in wanted:
        rows = pa.record_batch([pa.array([1])], schema=SCHEMA)
        MonthArchive(url, "prices", month).merge([rows], SCHEMA, ("session",))


def write(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_months_are_found_oldest_first(tmp_path: Path) -> None:
    url = str(tmp_path / "archive")
    assert months(url, "prices") == []
    assert foreign(url) == []
    fill(url, MAY, date(2019, 12, 1), date(2021, 1, 1))
    assert months(url, "prices") == [date(2019, 12, 1), date(2021, 1, 1), MAY]
    assert foreign(url) == []


def test_what_is_not_ours_is_ignored_and_named(tmp_path: Path) -> None:
    fill(str(tmp_path), MAY)
    for name in (
        ".DS_Store",
        "prices/.DS_Store",
        "prices/2020-13/prices.parquet",
        "prices/0000-05/prices.parquet",
        "prices/2020-1/prices.parquet",
        "prices/\uff12020-01/prices.parquet",
        "prices/2021-05 copy/prices.parquet",
        "prices/2021-06",  # a file
        "prices/2021-07/notes.txt",
        "prices/2021-05/._prices.parquet",
        "prices/2021-05/.writing-prices",
        "news_articles",  # a file
    ):
        write(tmp_path / name)
    (tmp_path / "prices" / "2021-08" / "prices.parquet").mkdir(parents=True)
    assert months(str(tmp_path), "prices") == [MAY]
    assert months(str(tmp_path), "news_articles") == []
    assert foreign(str(tmp_path)) == [
        ".DS_Store",
        "prices/.DS_Store",
        "prices/0000-05",
        "prices/2020-1",
        "prices/2020-13",
        "prices/2021-05 copy",
        "prices/2021-05/._prices.parquet",
        "prices/2021-05/.writing-prices",
        "prices/2021-06",
        "prices/2021-07",
        "prices/2021-08",
        "prices/\uff12020-01",
    ]


def test_a_month_that_was_never_finished_is_ignored(tmp_path: Path) -> None:
    """As a cleanup leaves it that is killed before its first file is in place."""
    fill(str(tmp_path), MAY)
    month = tmp_path / "prices" / "2021-05"
    manifest = (month / "manifest.json").read_text()
    before = manifest.replace('"replaces": null', '"replaces": {"rows": 0, "sha256": ""}')
    (month / "manifest.json").write_text(before)
    (month / "prices.parquet").rename(month / ".writing-prices")
    assert months(str(tmp_path), "prices") == []
    assert foreign(str(tmp_path)) == ["prices/2021-05"]
    (month / "manifest.json").unlink()
    assert months(str(tmp_path), "prices") == []
    fill(str(tmp_path), MAY)
    assert months(str(tmp_path), "prices") == [MAY]


@pytest.mark.parametrize("lost", ["prices.parquet", "manifest.json"])
def test_a_month_that_is_damaged_is_not_foreign(tmp_path: Path, lost: str) -> None:
    fill(str(tmp_path), MAY)
    (tmp_path / "prices" / "2021-05" / lost).unlink()
    assert months(str(tmp_path), "prices") == [MAY]


def test_other_stores_are_looked_into_too() -> None:
    url = f"memory://{uuid4()}"
    fill(url, MAY)
    fsspec.open(f"{url}/prices/.DS_Store", "wb").open().close()
    assert months(url, "prices") == [MAY]
    assert foreign(url) == ["prices/.DS_Store"]


@pytest.mark.parametrize("name", ["S pace", "ü", "100%", "%20", "a&b=c+d", "#1", "why?"])
def test_an_archive_in_the_wrong_place_is_named(tmp_path: Path, name: str) -> None:
    if quote(str(tmp_path)) != str(tmp_path):
        pytest.skip("the folder of tests is misread itself")
    folder = tmp_path / name / "archive"
    wrong = tmp_path / quote(name) / "archive"
    wrong.mkdir(parents=True)
    check_place(folder.as_uri())  # somebody else's folder
    fill(str(wrong), MAY)
    check_place(str(folder))  # a path was never misread
    with pytest.raises(ConfigurationError, match="an earlier version has put the archive") as error:
        check_place(folder.as_uri())
    move = str(error.value).partition("`")[2].partition("`")[0]
    subprocess.run(move, shell=True, check=True)  # noqa: S602 - as an operator does
    check_place(folder.as_uri())
    assert months(folder.as_uri(), "prices") == [MAY]
    fill(str(wrong), MAY)
    with pytest.raises(ConfigurationError, match=r"another in .*autoindex restore"):
        check_place(folder.as_uri())
    rmtree(wrong)
    check_place(folder.as_uri())


def test_a_folder_of_a_plain_name_needs_no_look(tmp_path: Path) -> None:
    fill(tmp_path.as_uri(), MAY)
    check_place(tmp_path.as_uri())
    check_place("memory://archive")
