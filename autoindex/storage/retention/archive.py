"""The archive: a Parquet file for each table and month, with a manifest of its content.

    <archive>/<table>/<yyyy-mm>/<table>.parquet
    <archive>/<table>/<yyyy-mm>/manifest.json

A file is written under another name, read back, and moved into place. While it is moved, the
manifest names the old and the new file, so that it always describes the one in place.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import file_digest
from tempfile import TemporaryFile
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, ValidationError

from autoindex.errors import ArchiveUnverified, ConfigurationError

FILE_URL: Final = "file://"
_UNFINISHED: Final = ".writing-"
_ROWS_A_READ: Final = 5_000
# A folder may be in a file's place.
_ABSENT: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class Content(BaseModel):
    """The content of a file: its number of rows, and the SHA-256 of its bytes."""

    model_config = ConfigDict(frozen=True)

    rows: int
    sha256: str


# What a month's first file replaces.
_NO_FILE: Final = Content(rows=0, sha256="")


class Manifest(BaseModel):
    """The content of a month's file; until it is in place, that may be the one it `replaces`."""

    model_config = ConfigDict(frozen=True)

    table: str
    month: str
    file: str
    content: Content
    replaces: Content | None


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did: `added` rows are new to the archive, `rows` are in the month's file."""

    added: int
    rows: int


class MonthArchive:
    """The archive of one table's month, below an fsspec URL. One process at a time writes it."""

    def __init__(self, archive_url: str, table: str, month: date) -> None:
        self._files, root = filesystem(archive_url)
        self._table, self._month = table, f"{month:%Y-%m}"
        self._folder = f"{root}/{table}/{self._month}"
        self.path = f"{self._folder}/{table}.parquet"
        self._manifest_path = f"{self._folder}/manifest.json"

    def merge(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, key: tuple[str, ...]
    ) -> Merged:
        """Add rows to the month's file; a new row replaces one with the same key.

        Raises `ArchiveUnverified` where the stored file is not what its manifest says, or the new
        one does not read back as it was written; the stored file is then left as it was.
        """
        with TemporaryFile() as old, TemporaryFile() as new:
            before = self._fetch_known(old)
            merged = _write_merged(new, batches, old if before else None, schema, key)
            content = Content(rows=merged.rows, sha256=_sha256(new))
            self._publish(new, content, before or _NO_FILE)
        return merged

    @property
    def has_begun(self) -> bool:
        """Whether a file was put in place, even if it is damaged or lost since.

        A cleanup that is killed before leaves a folder, and has deleted nothing.
        """
        if self._files.isfile(self.path):
            return True
        try:
            manifest = self._manifest()
        except ArchiveUnverified:
            return True
        return manifest is not None and manifest.replaces != _NO_FILE

    def verify(self) -> Content:
        """Read the file back; raises `ArchiveUnverified` where it is not what its manifest says."""
        with TemporaryFile() as copy:
            found = self._fetch_known(copy)
        if found is None:
            raise ArchiveUnverified(f"{self.path} is not there")
        return found

    @contextmanager
    def opened(self) -> Iterator[pq.ParquetFile]:
        """A copy of the file that has passed `verify`."""
        with TemporaryFile() as copy:
            if self._fetch_known(copy) is None:
                raise ArchiveUnverified(f"{self.path} is not there")
            with pq.ParquetFile(copy) as file:
                yield file

    def _fetch_known(self, copy: IO[bytes]) -> Content | None:
        """Copy the file and check it against the manifest; None where there is none yet."""
        manifest = self._manifest()
        if not self._fetch(self.path, copy):
            if manifest is None or manifest.replaces == _NO_FILE:
                return None
            raise ArchiveUnverified(f"{self.path} is missing, its manifest is there")
        if manifest is None:
            raise ArchiveUnverified(f"{self.path} has no manifest")
        checksum = _sha256(copy)
        for content in (manifest.content, manifest.replaces):
            if content is not None and content.sha256 == checksum:
                return _counted(copy, content, self.path)
        raise ArchiveUnverified(f"{self.path} is not the file its manifest names")

    def _manifest(self) -> Manifest | None:
        try:
            written = self._files.cat_file(self._manifest_path)
        except _ABSENT:
            return None
        try:
            return Manifest.model_validate_json(written)
        except ValidationError as error:
            raise ArchiveUnverified(f"{self._manifest_path} is not a manifest: {error}") from error

    def _publish(self, new: IO[bytes], content: Content, before: Content) -> None:
        self._files.makedirs(self._folder, exist_ok=True)
        unfinished = f"{self._folder}/{_UNFINISHED}{self._table}"
        self._put(new, unfinished)
        with TemporaryFile() as copy:
            if not self._fetch(unfinished, copy) or _sha256(copy) != content.sha256:
                raise ArchiveUnverified(f"{unfinished} does not read back as it was written")
            _counted(copy, content, unfinished)
        self._write_manifest(content, replaces=before)
        self._move(unfinished, self.path)
        self._write_manifest(content, replaces=None)

    def _write_manifest(self, content: Content, replaces: Content | None) -> None:
        manifest = Manifest(
            table=self._table,
            month=self._month,
            file=self.path.rpartition("/")[2],
            content=content,
            replaces=replaces,
        )
        unfinished = f"{self._folder}/{_UNFINISHED}manifest"
        with TemporaryFile() as text:
            text.write(manifest.model_dump_json(indent=2).encode())
            self._put(text, unfinished)
        self._move(unfinished, self._manifest_path)

    def _fetch(self, path: str, copy: IO[bytes]) -> bool:
        try:
            with self._files.open(path, "rb") as stored:
                shutil.copyfileobj(stored, copy)
        except _ABSENT:
            return False
        copy.flush()
        return True

    def _put(self, source: IO[bytes], path: str) -> None:
        source.seek(0)
        with self._files.open(path, "wb") as target:
            shutil.copyfileobj(source, target)
            if isinstance(self._files, LocalFileSystem):
                # Rows are deleted because this file has them: it must survive a power cut.
                target.flush()
                os.fsync(target.fileno())

    def _move(self, unfinished: str, path: str) -> None:
        self._files.mv(unfinished, path)
        if isinstance(self._files, LocalFileSystem):
            _sync_folder(self._folder)


def _write_merged(
    new: IO[bytes],
    batches: Iterable[pa.RecordBatch],
    old: IO[bytes] | None,
    schema: pa.Schema,
    key: tuple[str, ...],
) -> Merged:
    """Write the new rows, then those old ones whose key is not among them."""
    seen: set[tuple[Any, ...]] = set()
    kept = replaced = 0
    with pq.ParquetWriter(new, schema, compression="zstd") as writer:
        for batch in batches:
            seen.update(_keys(batch, key))
            writer.write_batch(batch)
        for batch in _stored(old, schema):
            keep = [one not in seen for one in _keys(batch, key)]
            kept += sum(keep)
            replaced += len(keep) - sum(keep)
            writer.write_batch(batch.filter(pa.array(keep, pa.bool_())))
    new.flush()
    return Merged(added=len(seen) - replaced, rows=len(seen) + kept)


def _stored(old: IO[bytes] | None, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if old is not None:
        with pq.ParquetFile(old) as file:
            for batch in file.iter_batches(_ROWS_A_READ):
                yield batch.cast(schema)


def _keys(batch: pa.RecordBatch, key: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    return zip(*(batch.column(name).to_pylist() for name in key), strict=True)


def _counted(file: IO[bytes], content: Content, path: str) -> Content:
    rows = pq.read_metadata(file).num_rows
    if rows != content.rows:
        raise ArchiveUnverified(f"{path} holds {rows} rows, its manifest says {content.rows}")
    return content


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    digest = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def filesystem(archive_url: str) -> tuple[Any, str]:
    """The file system of an archive, and the archive's folder in it."""
    folder = archive_url
    if folder.startswith(FILE_URL):  # fsspec would not decode its %20
        folder = os.fsdecode(unquote_to_bytes(folder.removeprefix(FILE_URL)))
    if folder.startswith("/"):
        return LocalFileSystem(), folder.rstrip("/")
    try:
        files, root = fsspec.core.url_to_fs(archive_url)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"AUTOINDEX_ARCHIVE_URL cannot be used: {error}") from error
    return files, root.rstrip("/")


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
