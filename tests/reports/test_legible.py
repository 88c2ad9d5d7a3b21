"""Names in letters that the PDF's typeface lacks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pypdf import PdfReader

from autoindex.reports import files
from autoindex.reports.compose import compose
from autoindex.reports.content import ReportContent
from autoindex.reports.inputs import ReportInputs
from autoindex.reports.legible import legible, shows
from autoindex.requests import ReportFormat

NAMES = {
    "Chinese": "贵州茅台酒",
    "Japanese": "トヨタ自動車",
    "Korean": "삼성전자",
    "Arabic": "أرامكو",
    "Hebrew": "טבע",
    "Hindi": "रिलायंस",
    "Thai": "ปตท",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_typeface_lacks_letters(name: str) -> None:
    assert not shows(name)


def test_it_shows_what_europe_writes() -> None:
    assert shows("Société Générale, Ørsted, Škoda, Łukoil, Газпром, Εθνική & Co. – “A” 5%")


def test_a_report_of_letters_it_has_stays_as_it_is(content: ReportContent) -> None:
    assert legible(content) is content


def test_a_publisher_is_named_in_letters_it_has(content: ReportContent) -> None:
    imprint = content.imprint.model_copy(update={"publisher": "株式会社", "contact": "me@x.jp"})
    shown = legible(content.model_copy(update={"imprint": imprint})).imprint
    assert (shown.publisher, shown.contact) == ("The publisher", "me@x.jp")


def test_no_box_is_in_a_pdf(make_inputs: Callable[..., ReportInputs], tmp_path: Path) -> None:
    inputs = make_inputs()
    symbols = sorted(inputs.assets)
    foreign = dict(zip(symbols, NAMES.values(), strict=False))
    assets = {
        symbol: replace(facts, name=foreign.get(symbol, facts.name))
        for symbol, facts in inputs.assets.items()
    }
    assets[symbols[0]] = replace(assets[symbols[0]], sector="金融")
    made = compose(make_inputs(assets=assets, benchmark_name="日経平均"))
    files.write(made, ReportFormat.PDF, tmp_path / "report.pdf")
    text = "".join(page.extract_text() for page in PdfReader(tmp_path / "report.pdf").pages)
    for name in (*NAMES.values(), "金融", "日経平均"):
        assert name not in text
    assert all(symbol in text for symbol in foreign)
    assert "Shown in other words, as this typeface lacks letters" in " ".join(text.split())
    assert made.holdings != legible(made).holdings  # the other formats keep the names
