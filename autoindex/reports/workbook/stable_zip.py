"""Saves a workbook reproducibly: fixed times inside the zip, so the same bytes each time."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from openpyxl import Workbook
from openpyxl.writer.excel import ExcelWriter

# A cell with a formula, as openpyxl writes it: without a value.
_FORMULA: Final = re.compile(rb'<c r="(\w+)"([^>]*)>(<f>[^<]*</f>)<v ?(?:/>|></v>)')


def save(book: Workbook, path: Path, instant: datetime, values: Mapping[str, float | str]) -> None:
    """Save `book` to `path`, with `instant` as the time of every file inside it.

    `values` are those of its formulas, by place: one sheet has formulas, and openpyxl stores none.
    ExcelWriter is used directly because Workbook.save puts the wall clock into the properties.
    """
    with _StampedZip(path, instant, values) as archive:
        ExcelWriter(book, archive).write_data()


class _StampedZip(ZipFile):
    def __init__(self, path: Path, instant: datetime, values: Mapping[str, float | str]) -> None:
        super().__init__(path, "w", ZIP_DEFLATED)
        self._values = values
        self._stamp = instant.astimezone(UTC).timetuple()[:6]

    def writestr(self, zinfo_or_arcname: Any, data: Any, *_: Any, **__: Any) -> None:
        info = ZipInfo(str(zinfo_or_arcname), self._stamp)
        info.compress_type = ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        super().writestr(info, data)

    def write(self, filename: Any, arcname: Any = None, *_: Any, **__: Any) -> None:
        data = Path(filename).read_bytes()
        self.writestr(arcname, _FORMULA.sub(self._with_value, data))

    def _with_value(self, cell: re.Match[bytes]) -> bytes:
        place, attributes, formula = cell.groups()
        value = self._values[place.decode()]
        kind = b' t="str"' if isinstance(value, str) else b""
        return b'<c r="%b"%b%b>%b<v>%b</v>' % (
            place,
            attributes,
            kind,
            formula,
            f"{value}".encode(),
        )
