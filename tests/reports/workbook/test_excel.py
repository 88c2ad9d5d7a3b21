"""The workbook: the content's values to the last digit, typed, and checks that come out."""

import csv
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from itertools import combinations
from pathlib import Path
from zipfile import ZipFile

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from autoindex.reports.compose import compose
from autoindex.reports.content import ReportContent
from autoindex.reports.inputs import AssetFacts, ReportInputs
from autoindex.reports.workbook import check_sheet, excel
from tests.bounds import HANG_SECONDS

Make = Callable[..., ReportInputs]


@pytest.fixture(scope="module")
def path(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("excel") / "report.xlsx"
    excel.write(content, path)
    return path


@pytest.fixture(scope="module")
def book(path: Path) -> Workbook:
    return load_workbook(path)


def test_sheets_in_order(book: Workbook) -> None:
    assert book.sheetnames == [
        "Cover",
        "Charts",
        "Performance",
        "Daily",
        "Drawdowns",
        "Metrics",
        "Monthly returns",
        "Holdings",
        "Contributions",
        "Sectors",
        "Weights",
        "Last rebalance",
        "Turnover",
        "Corrections",
        "Notes and method",
        "Check",
    ]


def test_daily_values_have_every_digit(book: Workbook, content: ReportContent) -> None:
    rows = list(book["Daily"].iter_rows(min_row=2, values_only=True))
    assert [row[0].date() for row in rows] == list(content.series.sessions)
    assert [row[1] for row in rows] == list(content.series.level)
    assert [row[2] for row in rows] == list(content.series.benchmark)
    assert [row[7] for row in rows] == list(content.series.rolling_sharpe)


def test_holdings_and_months_have_every_digit(book: Workbook, content: ReportContent) -> None:
    rows = list(book["Holdings"].iter_rows(min_row=2, values_only=True))
    assert [(row[0], row[3], row[8]) for row in rows] == [
        (row.symbol, row.weight, row.risk_contribution) for row in content.holdings
    ]
    years = list(book["Monthly returns"].iter_rows(min_row=2, values_only=True))
    assert [row[1:14] for row in years] == [
        (*year.months, year.year_return) for year in content.monthly_returns
    ]


def test_months_and_years_that_are_cut_short_have_an_asterisk(
    book: Workbook, content: ReportContent
) -> None:
    page = book["Monthly returns"]
    for line, year in enumerate(content.monthly_returns, start=2):
        marked = [page.cell(line, 1 + month).number_format[-3:] == '"*"' for month in range(1, 14)]
        assert marked == [*(month in year.incomplete for month in range(1, 13)), not year.whole]
    assert {year.whole for year in content.monthly_returns} == {True, False}
    notes = [row[1].value for row in book["Notes and method"].iter_rows()]
    assert "* marks a month or a year that is cut short." in notes


def test_cells_are_typed_and_formatted(book: Workbook, content: ReportContent) -> None:
    daily = book["Daily"]
    assert isinstance(daily["A2"].value, datetime)
    assert daily["A2"].number_format == "yyyy-mm-dd"
    assert daily["D2"].number_format == "#,##0.00%"
    assert book["Cover"]["B7"].value == content.headline.level
    assert book["Cover"]["B17"].value == content.annual_turnover
    assert book["Cover"]["B25"].value == datetime(2022, 12, 28, 22)  # noqa: DTZ001


def test_a_head_of_several_lines_is_shown_whole(book: Workbook) -> None:
    head = book["Daily"]["G1"]
    assert (head.value, head.alignment.horizontal) == ("Benchmark rolling volatility", "right")
    assert book["Daily"].column_dimensions["G"].width == 13  # so it takes three lines
    assert book["Daily"].row_dimensions[1].height == pytest.approx(3 * 14 + 4)
    assert book["Holdings"]["B1"].alignment.horizontal == "left"


def test_the_chart_of_sectors_has_no_more_rebalances_than_can_be_told_apart(
    book: Workbook, content: ReportContent
) -> None:
    rows = len(content.allocations.sessions)
    assert rows > 36
    (chart,) = [c for c in book["Charts"]._charts if type(c).__name__ == "AreaChart"]
    areas = {area.val.numRef.f for area in chart.series}
    assert f"'Sectors'!$B${rows - 34}:$B${rows + 1}" in areas
    assert len(areas) == len(content.allocations.sectors)


def test_no_chart_covers_another(book: Workbook) -> None:
    ends = []
    for chart in book["Charts"]._charts:
        start, end = chart.anchor._from, chart.anchor.to
        ends.append((range(start.col, end.col + 1), range(start.row, end.row + 1)))
    for (columns, rows), (others, lines) in combinations(ends, 2):
        assert not (set(columns) & set(others) and set(rows) & set(lines))


def test_many_constituents_give_a_chart_of_the_most_and_one_of_the_least(
    content: ReportContent, tmp_path: Path
) -> None:
    more = [row.model_copy(update={"symbol": f"{row.symbol}2"}) for row in content.contributions]
    many = content.model_copy(update={"contributions": (*content.contributions, *more)})
    excel.write(many, tmp_path / "many.xlsx")
    charts = load_workbook(tmp_path / "many.xlsx")["Charts"]._charts
    bars = [c for c in charts if type(c).__name__ == "BarChart"]
    assert [chart.series[0].val.numRef.f for chart in bars] == [
        "'Contributions'!$D$2:$D$11",
        "'Contributions'!$D$32:$D$41",
    ]


def test_the_chart_of_sectors_is_ordered_as_in_the_pdf(
    book: Workbook, content: ReportContent
) -> None:
    (chart,) = [c for c in book["Charts"]._charts if type(c).__name__ == "AreaChart"]
    weights = dict(
        zip(content.allocations.sectors, content.allocations.sector_weights[-1], strict=True)
    )
    shown = [weights[area.tx.v] for area in chart.series]
    assert shown == sorted(shown, reverse=True)


def test_paragraphs_have_room_for_their_lines(book: Workbook) -> None:
    page = book["Notes and method"]
    width = page.column_dimensions["B"].width
    for line in range(2, page.max_row + 1):
        text = page.cell(line, 2)
        assert text.alignment.wrap_text
        # A letter is narrower than a digit, in which widths are measured.
        assert page.row_dimensions[line].height >= 15 * len(text.value) / (1.2 * width)


@pytest.mark.parametrize("name", ["Daily", "Holdings", "Monthly returns", "Weights"])
def test_tables_have_frozen_heads_and_filters(book: Workbook, name: str) -> None:
    assert book[name].freeze_panes == "B2"
    assert book[name].auto_filter.ref == book[name].dimensions


def test_charts_are_native(path: Path) -> None:
    with ZipFile(path) as archive:
        names = archive.namelist()
    assert len([name for name in names if name.startswith("xl/charts/chart")]) == 6
    assert not [name for name in names if name.startswith("xl/media")]


def test_only_the_check_sheet_has_formulas(book: Workbook) -> None:
    for page in book.worksheets:
        assert bool(_formulas(page)) == (page.title == "Check"), page.title


def test_a_name_is_never_a_formula(make_inputs: Make, tmp_path: Path) -> None:
    """Wherever a name or a sector of the universe's file stands, it stays what was written."""
    link, sums = '=HYPERLINK("http://x","y")', "=1+1"
    assets = {name: AssetFacts(link, sums) for name in make_inputs().assets}
    made = compose(make_inputs(assets=assets, benchmark_name="#N/A", quality_notes=("@home",)))
    excel.write(made, tmp_path / "odd.xlsx")
    book = load_workbook(tmp_path / "odd.xlsx")
    assert {page.title for page in book.worksheets if _formulas(page)} == {"Check"}
    for page, place, words in (
        ("Cover", "B23", "#N/A"),
        ("Holdings", "B2", link),
        ("Holdings", "C2", sums),
        ("Contributions", "B2", link),
        ("Sectors", "B1", sums),
        ("Last rebalance", "B2", link),
        ("Notes and method", "B2", "@home"),
    ):
        cell = book[page][place]
        assert (cell.value, cell.data_type) == (words, "s"), f"{page}!{place}"
        assert cell.quotePrefix == (words != "#N/A")


def _formulas(page: Worksheet) -> list[str]:
    return [c.coordinate for row in page.iter_rows() for c in row if c.data_type == "f"]


def test_the_same_content_gives_the_same_bytes(
    content: ReportContent, path: Path, tmp_path: Path
) -> None:
    excel.write(content, tmp_path / "again.xlsx")
    assert (tmp_path / "again.xlsx").read_bytes() == path.read_bytes()
    with ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2022, 12, 28, 22, 0, 0)}


def test_checks_point_at_the_stated_figures(book: Workbook, content: ReportContent) -> None:
    stated = {check.sentence: check.stated for check in check_sheet.checks(content)}
    assert len(stated) == 11
    cover = book["Cover"]
    assert cover["A8"].value == "Month to date"
    assert cover["B8"].value == content.headline.period_return
    assert cover["B15"].value == content.headline.max_drawdown
    assert stated["The contributions add up to the period's return"] == "Cover!B8"


def test_formulas_have_values_for_viewers_that_compute_nothing(path: Path) -> None:
    formulas = _formulas(load_workbook(path)["Check"])
    page = load_workbook(path, data_only=True)["Check"]
    assert len(formulas) == 4 * 11 + 1
    assert None not in [page[place].value for place in formulas]
    assert [row[4].value for row in page.iter_rows(min_row=2) if row[0].value] == ["yes"] * 12


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")
def test_libreoffice_recalculates_the_checks(path: Path, tmp_path: Path) -> None:
    # What openpyxl saves has no values.
    load_workbook(path).save(tmp_path / "report.xlsx")
    every_sheet_as_csv = (
        "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1"
    )
    subprocess.run(
        [
            "soffice",
            f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}",
            "--headless",
            "--convert-to",
            every_sheet_as_csv,
            "--outdir",
            str(tmp_path),
            str(tmp_path / "report.xlsx"),
        ],
        check=True,
        capture_output=True,
        timeout=HANG_SECONDS,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    with (tmp_path / "report-Check.csv").open(encoding="utf-8") as file:
        _, *rows = [row for row in csv.reader(file) if row[0]]
    assert [row[4] for row in rows] == ["yes"] * 12
    assert rows[-1][0] == "All agree"
    page = load_workbook(path, data_only=True)["Check"]
    for line, row in enumerate(rows[:-1], start=2):
        stored = [page[f"{column}{line}"].value for column in "BC"]
        assert stored == pytest.approx([float(row[1]), float(row[2])], abs=1e-12), row[0]
