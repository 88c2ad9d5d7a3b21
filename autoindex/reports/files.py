"""Report files: their kinds, their names, and how one is written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from autoindex import filenames
from autoindex.reports import json_file
from autoindex.reports.content import ReportContent
from autoindex.reports.legible import legible
from autoindex.reports.pdf import document
from autoindex.reports.workbook import excel
from autoindex.requests import ReportFormat


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of report file."""

    media_type: str
    extension: str
    write: Callable[[ReportContent, Path], None]


KINDS: Final = {
    ReportFormat.PDF: FileKind(
        "application/pdf", "pdf", lambda content, path: document.write(legible(content), path)
    ),
    ReportFormat.EXCEL: FileKind(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx", excel.write
    ),
    ReportFormat.JSON: FileKind("application/json", "json", json_file.write),
}


def suggested_name(content: ReportContent, report_format: ReportFormat) -> str:
    """The suggested file name: `autoindex-composite-monthly-2022-12-28.pdf`."""
    extension = KINDS[report_format].extension
    last = content.period.last
    return filenames.report(content.index_name, content.report_type, last, extension)


def write(content: ReportContent, report_format: ReportFormat, path: Path) -> None:
    """Write `content` to `path` atomically.

    It is written under another name beside `path` first, then renamed. Only the owner can read it.
    The same content gives the same bytes, so that writing twice changes nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = filenames.UNFINISHED_PREFIX
    with NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False) as file:
        temporary = Path(file.name)
    try:
        KINDS[report_format].write(content, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
