"""The archive's files: what a merge leaves, whichever store keeps them."""

import hashlib
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoindex.errors import ArchiveUnverified, ConfigurationError
from autoindex.storage.retention.archive import Merged, MonthArchive

SCHEMA = pa.schema([("url", pa.string()), ("value", pa.float64())])
MAY = date(2021, 5, 1)


def batch(rows: dict[str, float | None]) -> pa.RecordBatch:
    return pa.record_batch([list(rows), pa.array(rows.values(), pa.float64())], schema=SCHEMA)


def merge(archive: MonthArchive, *rows: dict[str, float | None]) -> Merged:
    return archive.merge([batch(one) for one in rows], SCHEMA, ("url",))


def held(archive: MonthArchive) -> dict[str, float | None]:
    with archive.opened() as file:
        return {row["url"]: row["value"] for row in file.read().to_pylist()}


@pytest.fixture
def archive(tmp_path: Path) -> MonthArchive:
    return MonthArchive((tmp_path / "archive").as_uri(), "news", MAY)


def test_rows_are_merged_by_their_key(archive: MonthArchive) -> None:
    assert merge(archive, {"a": 1.0, "b": None}, {"c": 3.0}) == Merged(added=3, rows=3)
    assert merge(archive, {"b": 2.0, "d": 4.0}) == Merged(added=1, rows=4)
    assert held(archive) == {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    assert archive.verify().rows == 4


def test_the_manifest_says_what_the_file_is(archive: MonthArchive, tmp_path: Path) -> None:
    merge(archive, {"a": 1.0})
    merge(archive, {"b": 2.0})
    folder = tmp_path / "archive" / "news" / "2021-05"
    manifest = json.loads((folder / "manifest.json").read_text())
    checksum = hashlib.sha256((folder / "news.parquet").read_bytes()).hexdigest()
    assert manifest == {
        "table": "news",
        "month": "2021-05",
        "file": "news.parquet",
        "content": {"rows": 2, "sha256": checksum},
        "replaces": None,
    }
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "news.parquet"}
    compressed = pq.read_metadata(folder / "news.parquet").row_group(0).column(0)
    assert compressed.compression == "ZSTD"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abcdefg"), st.none() | st.floats()), max_size=5))
def test_many_merges_are_as_one_dictionary(merges: list[dict[str, float | None]]) -> None:
    archive = MonthArchive(f"memory://{uuid4()}", "news", MAY)
    expected: dict[str, float | None] = {}
    for rows in merges:
        added = len(rows.keys() - expected.keys())
        expected |= rows
        assert merge(archive, rows) == Merged(added, len(expected))
        assert {name: repr(value) for name, value in held(archive).items()} == {
            name: repr(value) for name, value in expected.items()
        }


def test_a_missing_archive_is_unverified(archive: MonthArchive) -> None:
    with pytest.raises(ArchiveUnverified, match="is not there"):
        archive.verify()
    with pytest.raises(ArchiveUnverified, match="is not there"), archive.opened():
        pass


@pytest.mark.parametrize("lost", ["news.parquet", "manifest.json"])
def test_half_an_archive_is_never_written_over(archive: MonthArchive, lost: str) -> None:
    merge(archive, {"a": 1.0})
    path = Path(archive.path).with_name(lost)
    path.unlink()
    with pytest.raises(ArchiveUnverified):
        archive.verify()
    with pytest.raises(ArchiveUnverified):
        merge(archive, {"b": 2.0})
    assert not path.exists()


@pytest.mark.parametrize(
    "written",
    [
        "",
        "[]",
        '{"table": "news"}',
        '{"table": "news", "month": "2021-05", "file": "news.parquet",'
        ' "content": {"rows": 7, "sha256": "%s"}, "replaces": null}',
    ],
)
def test_a_manifest_that_is_wrong_is_unverified(archive: MonthArchive, written: str) -> None:
    merge(archive, {"a": 1.0})
    path = Path(archive.path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("manifest.json").write_text(written.replace("%s", checksum))
    with pytest.raises(ArchiveUnverified):
        archive.verify()


@pytest.mark.parametrize(
    "name",
    [
        "S pace",
        "ü",
        "100%",
        "S%20pace",
        "a&b=c+d",
        "#1",
        "why?",
        "a::b",
        "[x]*",
        "a\nb",
        "~",
        "\udcff",
    ],
)
@pytest.mark.parametrize("address", [str, Path.as_uri])
def test_a_folder_may_have_any_name(
    tmp_path: Path, name: str, address: Callable[[Path], str]
) -> None:
    folder = tmp_path / name
    archive = MonthArchive(address(folder), "news", MAY)
    merge(archive, {"a": 1.0})
    assert held(archive) == {"a": 1.0}
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "news" / "2021-05" / "news.parquet").is_file()
    assert MonthArchive(address(folder), "news", MAY).verify().rows == 1


def test_a_url_may_be_written_as_a_path_is(tmp_path: Path) -> None:
    folder = tmp_path / "S pace & ü"
    merge(MonthArchive(f"file://{folder}", "news", MAY), {"a": 1.0})
    assert list(tmp_path.iterdir()) == [folder]


def test_an_address_that_cannot_be_used_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"AUTOINDEX_ARCHIVE_URL.*nosuchthing"):
        MonthArchive("nosuchthing://bucket/archive", "news", MAY)
