"""Files appear whole or not at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoindex import filenames
from autoindex.reports import files
from autoindex.reports.compose import compose
from autoindex.reports.content import ReportContent
from autoindex.reports.inputs import AssetFacts, ReportInputs
from autoindex.reports.mail import body
from autoindex.requests import ReportFormat

STARTS = {
    ReportFormat.PDF: b"%PDF-",
    ReportFormat.EXCEL: b"PK\x03\x04",
    ReportFormat.JSON: b'{"schema_version"',
}


Make = Callable[..., ReportInputs]


@pytest.mark.parametrize("report_format", list(ReportFormat))
def test_each_kind_is_what_it_says(
    content: ReportContent, report_format: ReportFormat, tmp_path: Path
) -> None:
    path = tmp_path / "new" / files.suggested_name(content, report_format)
    files.write(content, report_format, path)
    assert path.read_bytes().startswith(STARTS[report_format])
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


def test_names_and_media_types(content: ReportContent) -> None:
    name = files.suggested_name(content, ReportFormat.EXCEL)
    assert name == "autoindex-composite-monthly-2022-12-28.xlsx"
    assert files.KINDS[ReportFormat.PDF].media_type == "application/pdf"
    assert set(files.KINDS) == set(ReportFormat)


@pytest.mark.parametrize("report_format", list(ReportFormat))
def test_a_cleanup_knows_a_report_by_its_name(
    content: ReportContent, report_format: ReportFormat, tmp_path: Path
) -> None:
    assert filenames.is_report(files.suggested_name(content, report_format))
    seen: list[str] = []
    kind = replace(files.KINDS[report_format], write=lambda _, path: seen.append(path.name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(files.KINDS, report_format, kind)
        files.write(content, report_format, tmp_path / "report")
    assert [filenames.is_unfinished(name) for name in seen] == [True]


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


@pytest.mark.parametrize(
    ("name", "sector"),
    [
        ("W" * 3_000, "W" * 130),
        ("word " * 600, "a sector of words " * 8),
        ("Bell\x07\x0b\x1b Inc.", "Tele\x08coms\ufffe"),
        ("三菱商事 🏦 مصر", "エネルギー" * 30),
        ("\x07", "\x07"),
    ],
    ids=["wide", "long", "control", "no glyph", "nothing"],
)
def test_every_format_holds_any_name(
    make_inputs: Make, tmp_path: Path, name: str, sector: str
) -> None:
    """Also those stored before the universe refused them."""
    assets = {
        symbol: AssetFacts(name, f"{number}{sector}")
        for number, symbol in enumerate(make_inputs().assets)
    }
    odd = compose(make_inputs(assets=assets, benchmark_name=name))
    for report_format in ReportFormat:
        files.write(odd, report_format, tmp_path / report_format)
        assert (tmp_path / report_format).stat().st_size > 0
    assert body.chart(odd).startswith(b"\x89PNG")
    assert all(row.name.isprintable() and len(row.name) <= 200 for row in odd.holdings)
