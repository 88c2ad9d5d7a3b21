"""Saves a workbook reproducibly: fixed times inside the zip, so the same bytes each time."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from openpyxl import Workbook
from openpyxl.writer.excel import ExcelWriter


def save(book: Workbook, path: Path, instant: datetime) -> None:
    """Save `book` to `path`, with `instant` as the time of every file inside it.

    ExcelWriter is used directly because Workbook.save puts the wall clock into the properties.
    """
    with _StampedZip(path, instant) as archive:
        ExcelWriter(book, archive).write_data()


class _StampedZip(ZipFile):
    def __init__(self, path: Path, instant: datetime) -> None:
        super().__init__(path, "w", ZIP_DEFLATED)
        self._stamp = instant.astimezone(UTC).timetuple()[:6]

    def writestr(self, zinfo_or_arcname: Any, data: Any, *_: Any, **__: Any) -> None:
        info = ZipInfo(str(zinfo_or_arcname), self._stamp)
        info.compress_type = ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        super().writestr(info, data)

    def write(self, filename: Any, arcname: Any = None, *_: Any, **__: Any) -> None:
        self.writestr(arcname, Path(filename).read_bytes())
