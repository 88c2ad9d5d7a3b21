"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from autoindex.reports import files
from autoindex.reports.content import ReportContent
from autoindex.requests import ReportFormat

STARTS = {
    ReportFormat.PDF: b"%PDF-",
    ReportFormat.EXCEL: b"PK\x03\x04",
    ReportFormat.JSON: b'{"schema_version"',
}


@pytest.mark.parametrize("report_format", list(ReportFormat))
def test_each_kind_is_what_it_says(
    content: ReportContent, report_format: ReportFormat, tmp_path: Path
) -> None:
    path = tmp_path / "new" / files.suggested_name(content, report_format)
    files.write(content, report_format, path)
    assert path.read_bytes().startswith(STARTS[report_format])
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_names_and_media_types(content: ReportContent) -> None:
    name = files.suggested_name(content, ReportFormat.EXCEL)
    assert name == "autoindex-composite-monthly-2022-12-28.xlsx"
    assert files.KINDS[ReportFormat.PDF].media_type == "application/pdf"
    assert set(files.KINDS) == set(ReportFormat)


def test_a_name_cannot_leave_its_folder(content: ReportContent) -> None:
    odd = content.model_copy(update={"index_name": "../../etc/passwd\r\n"})
    assert files.suggested_name(odd, ReportFormat.JSON) == "etc-passwd-monthly-2022-12-28.json"


def test_a_failure_leaves_the_old_file_and_nothing_else(
    content: ReportContent, tmp_path: Path
) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"old")
    # A period that the daily figures do not hold: the drawing fails half-way.
    broken = content.model_copy(
        update={
            "period": content.period.model_copy(update={"base": content.inception.replace(1970)})
        }
    )
    with pytest.raises(ValueError, match="not in tuple"):
        files.write(broken, ReportFormat.PDF, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
