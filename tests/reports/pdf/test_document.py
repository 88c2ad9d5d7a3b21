"""The PDF, read back with pypdf."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pypdf import PdfReader

from autoindex.reports.compose import compose
from autoindex.reports.content import Imprint, ReportContent
from autoindex.reports.pdf import document
from autoindex.reports.wording import day, figure, percent
from autoindex.requests import ReportType
from autoindex.setting_types import Paper


@pytest.fixture(scope="module")
def path(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pdf") / "report.pdf"
    document.write(content, path)
    return path


@pytest.fixture(scope="module")
def reader(path: Path) -> PdfReader:
    return PdfReader(path)


@pytest.fixture(scope="module")
def text(reader: PdfReader) -> str:
    return "\n".join(page.extract_text() for page in reader.pages)


def test_figures_can_be_searched(text: str, content: ReportContent) -> None:
    head = content.headline
    assert percent(head.period_return, signed=True) in text
    assert percent(head.max_drawdown) in text
    assert f"{percent(content.annual_turnover, 0)}, by 59 rebalances" in text
    for fall in content.drawdowns:
        assert day(fall.start) in text
    for row in content.holdings:
        assert row.symbol in text
    assert "Procter & Gamble" in text
    assert "What flatters these figures" in text


def test_years_that_are_cut_short_have_an_asterisk(text: str, content: ReportContent) -> None:
    years = {year.whole: figure(100.0 * year.year_return, 1) for year in content.monthly_returns}
    assert f"{years[False]}*" in text.split()
    assert years[True] in text.split()
    assert "* marks a month or a year that is cut short." in " ".join(text.split())


def test_every_part_is_bookmarked(reader: PdfReader) -> None:
    titles = [entry.title for entry in reader.outline if not isinstance(entry, list)]
    assert titles == [
        "Growth since base date",
        "Performance",
        "Key facts",
        "Largest holdings",
        "The period",
        "Contributions to return",
        "Sectors",
        "Months and benchmark",
        "Distribution of monthly returns",
        "Drawdowns",
        "Deepest drawdowns",
        "Rolling volatility",
        "Rolling Sharpe ratio",
        "Metrics",
        "Monthly returns",
        "Calendar years",
        "Allocations",
        "Holdings",
        "Turnover",
        "Last rebalance",
        "Next rebalance",
        "Data quality",
        "Method and sources",
    ]


def test_every_bookmark_leads_to_its_part(reader: PdfReader) -> None:
    assert reader.trailer["/Root"]["/PageMode"] == "/UseOutlines"
    led = set()
    for entry in reader.outline:
        page = reader.get_destination_page_number(entry)
        led.add(page)
        places: dict[str, float] = {}
        reader.pages[page].extract_text(
            visitor_text=lambda text, cm, matrix, _font, _size, places=places: places.setdefault(
                text.strip(), matrix[5] + cm[5]
            )
        )
        # The top of the heading, whose baseline is a little below.
        assert 0 < entry.top - places[entry.title] < 15, entry.title
    assert led == set(range(len(reader.pages)))


def test_pages_are_numbered_and_a4(reader: PdfReader) -> None:
    count = len(reader.pages)
    for number, page in enumerate(reader.pages, start=1):
        assert f"Page {number} of {count}" in page.extract_text()
        assert (round(page.mediabox.width), round(page.mediabox.height)) == (595, 842)


def test_method_stands_on_the_last_page(reader: PdfReader) -> None:
    assert "Method and sources" in reader.pages[-1].extract_text()


def test_metadata(reader: PdfReader, content: ReportContent) -> None:
    assert reader.metadata is not None
    assert reader.metadata.title == content.title
    assert reader.metadata.creation_date == datetime(2022, 12, 28, 22, tzinfo=UTC)
    assert reader.trailer["/Root"]["/Lang"] == "en-GB"
    assert reader.trailer["/Root"]["/ViewerPreferences"]["/DisplayDocTitle"]
    described = reader.xmp_metadata
    assert described is not None
    assert described.dc_title == {"x-default": content.title}
    assert described.dc_language == ["en-GB"]
    assert described.xmp_create_date == reader.metadata.creation_date.replace(tzinfo=None)


def test_charts_are_vectors_and_fonts_embedded(reader: PdfReader) -> None:
    for page in reader.pages:
        resources = page["/Resources"]
        assert not [
            item
            for item in resources.get("/XObject", {}).values()
            if item.get_object()["/Subtype"] == "/Image"
        ]
        for font in resources["/Font"].values():
            assert "/FontFile2" in font.get_object()["/FontDescriptor"].get_object()


def test_the_same_content_gives_the_same_bytes_in_another_process(
    content: ReportContent, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "content.json").write_text(content.model_dump_json())
    program = (
        "import sys, pathlib\n"
        "from autoindex.reports.pdf import document\n"
        "from autoindex.reports.content import Imprint, ReportContent\n"
        "text = pathlib.Path(sys.argv[1]).read_text()\n"
        "document.write(ReportContent.model_validate_json(text), pathlib.Path(sys.argv[2]))\n"
    )
    again = tmp_path / "again.pdf"
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "content.json"), str(again)],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )
    assert again.read_bytes() == path.read_bytes()


def test_a_young_index_is_told_plainly(make_inputs: "object", tmp_path: Path) -> None:
    young = compose(make_inputs(start="2022-12-12", benchmark=None))  # type: ignore[operator]
    document.write(young, tmp_path / "young.pdf")
    pages = [page.extract_text() for page in PdfReader(tmp_path / "young.pdf").pages]
    text = "\n".join(pages)
    assert len(pages) <= 4
    assert "Not enough data" in text
    for part in (
        "Metrics",
        "Rolling volatility",
        "Monthly returns",
        "Against benchmark",
        "Annual return",
    ):
        assert part not in text.replace("annual return, Calmar", "")
    assert "nan" not in text.lower().split()
    assert "None" not in text


def test_a_day_is_drawn_among_those_before_it(make_inputs: "object", tmp_path: Path) -> None:
    daily = compose(make_inputs(ReportType.DAILY))  # type: ignore[operator]
    document.write(daily, tmp_path / "daily.pdf")
    (front,) = (page.extract_text() for page in PdfReader(tmp_path / "daily.pdf").pages)
    assert "Daily report. 28 December 2022\n" in front
    assert "Return of the day" in front
    assert "Last 21 sessions" in front
    assert "Return from the close of 28 Nov 2022" in front


LONG = "The Very Long Name of an Index of Twenty Large American Companies, Rebalanced Monthly, Net"


@pytest.mark.parametrize(("report_type", "count"), [(ReportType.DAILY, 1), (ReportType.WEEKLY, 2)])
@pytest.mark.parametrize("paper", ["a4", "letter"])
def test_short_types_keep_to_their_pages(
    make_inputs: "object", tmp_path: Path, report_type: ReportType, count: int, paper: Paper
) -> None:
    made = compose(
        make_inputs(  # type: ignore[operator]
            report_type,
            index_name=LONG,
            benchmark_name=LONG,
            quality_notes=tuple(f"{LONG} {number}" for number in range(9)),
            imprint=Imprint(publisher="Example Ltd", contact="ask@example.org", paper=paper),
        )
    )
    document.write(made, tmp_path / "short.pdf")
    pages = PdfReader(tmp_path / "short.pdf").pages
    assert len(pages) == count
    for page in pages:
        text = page.extract_text()
        assert "Example Ltd. ask@example.org" in text
        assert round(page.mediabox.height) == (842 if paper == "a4" else 792)
    assert "Next rebalance" in text
    assert "6 more are in the other formats." in text


@pytest.mark.parametrize("years", [1, 5, 33])
def test_no_page_is_empty(make_inputs: "object", tmp_path: Path, years: int) -> None:
    made = compose(make_inputs(start=f"{2023 - years}-01-03"))  # type: ignore[operator]
    document.write(made, tmp_path / "pages.pdf")
    for page in PdfReader(tmp_path / "pages.pdf").pages:
        # More than its head and foot.
        assert len(page.extract_text()) > 400


def test_a_report_on_letter_has_as_many_pages_as_on_a4(
    make_inputs: "object", tmp_path: Path
) -> None:
    made = compose(make_inputs(start="1990-01-02"))  # type: ignore[operator]
    for paper in ("a4", "letter"):
        document.write(made.model_copy(update={"imprint": Imprint(paper=paper)}), tmp_path / paper)
    assert len({len(PdfReader(tmp_path / paper).pages) for paper in ("a4", "letter")}) == 1


def test_the_first_page_holds_the_key_facts_whatever_the_names(
    content: ReportContent, tmp_path: Path
) -> None:
    odd = content.model_copy(update={"index_name": LONG, "summary": f"{LONG}. " * 6})
    document.write(odd, tmp_path / "long.pdf")
    first = PdfReader(tmp_path / "long.pdf").pages[0].extract_text()
    assert "Turnover a year, one-way" in first


def test_without_a_benchmark_nothing_is_said_of_one(make_inputs: "object", tmp_path: Path) -> None:
    alone = compose(make_inputs(benchmark=None))  # type: ignore[operator]
    document.write(alone, tmp_path / "alone.pdf")
    text = "\n".join(page.extract_text() for page in PdfReader(tmp_path / "alone.pdf").pages)
    before_the_notes = text.partition("Data quality")[0]
    assert "enchmark" not in before_the_notes
    assert "Difference" not in before_the_notes


def test_the_first_page_names_sample_data_and_what_the_benchmark_leaves_out(
    make_inputs: "object", reader: PdfReader, tmp_path: Path
) -> None:
    first = " ".join(reader.pages[0].extract_text().split())
    assert "Sample data: the prices are the sandbox's" in first
    assert "The benchmark leaves dividends out" in first
    real = compose(make_inputs(sample_data=False))  # type: ignore[operator]
    document.write(real, tmp_path / "real.pdf")
    pages = [page.extract_text() for page in PdfReader(tmp_path / "real.pdf").pages]
    assert "Sample data" not in pages[0]
    assert "sandbox" not in "".join(pages)
    assert "Twelve Data" in pages[-1]


def test_names_with_markup_are_only_text(content: ReportContent, tmp_path: Path) -> None:
    holding = content.holdings[0].model_copy(update={"name": "<b>A & B</b> <para>"})
    odd = content.model_copy(update={"holdings": (holding,), "quality_notes": ("a < b",)})
    document.write(odd, tmp_path / "odd.pdf")
    text = "\n".join(page.extract_text() for page in PdfReader(tmp_path / "odd.pdf").pages)
    assert "<b>A & B</b> <para>" in text.replace("\n", " ")
    assert "a < b" in text


def test_a_rebalance_of_hundreds_fits_its_page(content: ReportContent, tmp_path: Path) -> None:
    assert content.rebalance is not None
    many = tuple(f"S{number:05d}" for number in range(1_500))
    change = content.rebalance.model_copy(update={"entered": many, "left": many[:31]})
    document.write(content.model_copy(update={"rebalance": change}), tmp_path / "large.pdf")
    text = " ".join(page.extract_text() for page in PdfReader(tmp_path / "large.pdf").pages)
    text = " ".join(text.split())
    assert "S00028, S00029 and 1,470 more. Left: S00000" in text
    assert "S00029 and 1 more." in text
