"""The launch, the back-test, and what has changed since, as each format shows them."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet
from pypdf import PdfReader

from autoindex.index import metrics
from autoindex.reports import back_test, captions
from autoindex.reports.compose import compose
from autoindex.reports.content import (
    LevelChange,
    PendingCorrection,
    ProvisionalLevel,
    PublishedPast,
    ReportContent,
)
from autoindex.reports.inputs import ReportInputs
from autoindex.reports.mail import body
from autoindex.reports.pdf import charts, document
from autoindex.reports.workbook import excel

Make = Callable[..., ReportInputs]
DASH = "\N{EN DASH}"
CAUSE = "closes changed: KO from 2022-12-14"
UNTIL = date(2021, 3, 31)


def past(until: date, changes: int = 0, pending: int = 0) -> PublishedPast:
    """Launched at the close of `until`."""
    instant = datetime(2022, 12, 21, 22, 5, tzinfo=UTC)
    provisional = ProvisionalLevel(session=date(2022, 12, 28), missing=("KO", "XOM"))
    return PublishedPast(
        launched_at=datetime(until.year, until.month, until.day, 22, tzinfo=UTC),
        back_tested_until=until,
        provisional=(provisional,) if changes else (),
        changes=tuple(
            LevelChange(
                session=date(2022, 12, 14),
                old_level=200.0,
                new_level=200.0 + number,
                cause=CAUSE,
                published_at=instant,
            )
            for number in range(1, changes + 1)
        ),
        pending=tuple(
            PendingCorrection(
                session=date(2021, 2, number), symbol="KO", reason="closes changed", effect=0.0123
            )
            for number in range(1, pending + 1)
        ),
    )


@pytest.fixture(scope="module")
def make(make_inputs: Make) -> Callable[[PublishedPast | None], ReportContent]:
    """Five years with all their metrics, and a published past."""
    plain = make_inputs()
    found = metrics.metrics(plain.levels, plain.benchmark)
    return lambda known: compose(make_inputs(metrics=found, published_past=known))


@pytest.fixture(scope="module")
def mixed(make: Callable[[PublishedPast | None], ReportContent]) -> ReportContent:
    """Live since April 2021, with a correction of December and one that is pending."""
    return make(past(UNTIL, 1, 1))


@pytest.fixture(scope="module")
def backwards(make: Callable[[PublishedPast | None], ReportContent]) -> ReportContent:
    """Launched with the last level, as in the demonstration."""
    return make(past(date(2022, 12, 28)))


def test_the_summary_names_what_matters_for_the_period(
    mixed: ReportContent, backwards: ReportContent, content: ReportContent
) -> None:
    assert mixed.summary.removeprefix(content.summary) == (
        " The newest level is provisional. 1 published level has changed since 30 Nov 2022. "
        "1 correction is pending."
    )
    assert backwards.summary.removeprefix(content.summary) == (
        " All levels are back-tested: the index was launched on 28 Dec 2022."
    )
    assert mixed.summary in body.text(mixed, "here")


def test_the_first_page_says_what_is_back_tested(
    mixed: ReportContent, backwards: ReportContent, content: ReportContent
) -> None:
    assert back_test.footnote(mixed) == (
        "\N{DAGGER} With a back-test. Levels up to 31 Mar 2021 are back-tested: the index was "
        "launched on 31 Mar 2021."
    )
    assert back_test.footnote(backwards) == (
        "All levels are back-tested: the index was launched on 28 Dec 2022."
    )
    assert back_test.footnote(content) == ""


def test_the_summary_counts_a_level_once_however_often_it_has_changed(
    make: Callable[[PublishedPast | None], ReportContent],
) -> None:
    assert "1 published level has changed" in make(past(UNTIL, 3)).summary


def test_a_launch_within_the_period_is_said(
    make: Callable[[PublishedPast | None], ReportContent],
) -> None:
    assert make(past(date(2022, 12, 1))).summary.endswith(
        "Levels up to 1 Dec 2022 are back-tested: the index was launched on 1 Dec 2022."
    )
    assert "back-tested" not in make(past(date(2022, 11, 30))).summary


def test_windows_are_back_tested_as_far_as_they_are_older_than_the_launch(
    mixed: ReportContent,
) -> None:
    windows = {row.key: back_test.of_comparison(mixed, row) for row in mixed.comparisons}
    assert windows == {
        "period": "no",
        "previous_period": "no",
        "quarter_to_date": "no",
        "year_to_date": "no",
        "1_year": "no",
        "3_year": "partly",
        "5_year": None,
        "10_year": None,
        "inception": "partly",
    }
    assert [back_test.of_year(mixed, year) for year in (2020, 2021, 2022)] == [
        "yes",
        "partly",
        "no",
    ]
    assert [back_test.of_window(mixed, name) for name in ("1M", "YTD", "1Y", "3Y", "all")] == [
        "no",
        "no",
        "no",
        "partly",
        "partly",
    ]
    assert back_test.extent(mixed, date(2021, 3, 30), UNTIL) == "yes"
    assert back_test.extent(mixed, UNTIL, date(2021, 4, 1)) == "no"


def test_a_year_that_ends_with_the_launch_is_back_tested(
    make: Callable[[PublishedPast | None], ReportContent],
) -> None:
    made = make(past(date(2020, 12, 31)))
    assert [back_test.of_year(made, year) for year in (2020, 2021)] == ["yes", "no"]


def shaded(figure: Figure) -> list[tuple[float, float]]:
    """From which day to which the plot is shaded, as days since 1970."""
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return [(box.get_x(), box.get_x() + box.get_width()) for box in boxes]


def days(*dates: str) -> tuple[float, ...]:
    return tuple(np.array(dates, "datetime64[D]").astype(float).tolist())


def texts(figure: Figure) -> list[str]:
    return [one.get_text() for one in figure.axes[0].texts]


def test_charts_shade_what_is_back_tested_and_say_until_when(mixed: ReportContent) -> None:
    for chart in (charts.growth, charts.recent):
        figure = chart(mixed, 500, 150)
        assert shaded(figure) == [days("2018-01-02", "2021-03-31")]
        assert "Back-tested until 31 Mar 2021" in texts(figure)
    assert shaded(charts.period(mixed, 250, 150)) == []


def test_a_chart_of_nothing_but_back_tests_is_shaded_whole(backwards: ReportContent) -> None:
    assert shaded(charts.growth(backwards, 500, 150)) == [days("2018-01-02", "2022-12-28")]
    assert shaded(charts.period(backwards, 250, 150)) == [days("2022-11-30", "2022-12-28")]
    assert captions.period(backwards).endswith("; shaded: back-tested")


def test_the_shade_does_not_move_the_scale(mixed: ReportContent, content: ReportContent) -> None:
    first, second = (charts.growth(one, 500, 150).axes[0] for one in (mixed, content))
    assert (first.get_xlim(), first.get_ylim()) == (second.get_xlim(), second.get_ylim())


def test_a_long_name_of_the_benchmark_leaves_room_for_the_label(
    make_inputs: Make,
) -> None:
    made = compose(make_inputs(benchmark_name="B" * 200, published_past=past(UNTIL)))
    assert "Back-tested until 31 Mar 2021" in texts(charts.growth(made, 500, 150))


def pages(content: ReportContent, path: Path) -> list[str]:
    document.write(content, path)
    return [page.extract_text() for page in PdfReader(path).pages]


def test_the_pdf_marks_rows_and_lists_corrections(mixed: ReportContent, tmp_path: Path) -> None:
    read = pages(mixed, tmp_path / "mixed.pdf")
    front, whole = " ".join(read[0].split()), " ".join(" ".join(read).split())
    assert "Base date 2 Jan 2018, at 100.00" in front
    assert "Launch date 31 Mar 2021" in front
    assert "3 years † " in front
    assert "1 year † " not in front
    assert "† With a back-test." in front
    for words in (
        "Corrections Published levels that have changed since the close of 30 Nov 2022.",
        f"14 Dec 2022 200.00 201.00 +0.500% 21 Dec 2022 {CAUSE}",
        "1 Feb 2021 1.230% closes changed: KO from 1 Feb 2021",
        "The level of 28 Dec 2022 is provisional: published without KO, XOM.",
        "Launch and corrections The index was launched on 31 Mar 2021",
        "2021 † ",
    ):
        assert words in whole
    assert "2022 † " not in whole


def test_a_report_of_nothing_but_back_tests_is_calm(
    backwards: ReportContent, content: ReportContent, tmp_path: Path
) -> None:
    """No dagger on every row, and as many pages as ever."""
    read = pages(backwards, tmp_path / "backwards.pdf")
    whole = " ".join(" ".join(read).split())
    assert "†" not in whole
    assert "No published level has changed since the close of 30 Nov 2022." in whole
    assert "No correction is pending." in whole
    assert len(read) == len(pages(content, tmp_path / "plain.pdf"))
    assert "Key facts" in read[0]


def test_a_long_summary_leaves_room_for_the_key_facts(make_inputs: Make, tmp_path: Path) -> None:
    """Everything there is to say of the period, and a benchmark with a long name."""
    name = "MSCI World ex Tobacco Net Total Return Index"
    known = past(date(2022, 12, 6), 3, 2)
    made = compose(make_inputs(benchmark_name=name, published_past=known))
    assert "Key facts" in pages(made, tmp_path / "long.pdf")[0]


def test_the_pdf_lists_the_largest_of_many(
    make: Callable[[PublishedPast | None], ReportContent], tmp_path: Path
) -> None:
    whole = " ".join(" ".join(pages(make(past(UNTIL, 20, 15)), tmp_path / "many.pdf")).split())
    assert "since the close of 30 Nov 2022, the 12 largest of 20." in whole
    assert "Pending, the 12 largest of 15: no published level changes" in whole
    assert " 209.00 " in whole
    assert " 208.00 " not in whole


def test_the_workbook_marks_rows_and_lists_corrections(
    mixed: ReportContent, tmp_path: Path
) -> None:
    excel.write(mixed, tmp_path / "mixed.xlsx")
    book = load_workbook(tmp_path / "mixed.xlsx")
    cover = dict(row[:2] for row in book["Cover"].iter_rows(values_only=True))
    midnight = pd.Timestamp(UNTIL).to_pydatetime()
    assert cover["Launch date"] == cover["Back-tested until"] == midnight
    daily = {row[0].date(): row[8:] for row in rows(book["Daily"])}
    assert daily[UNTIL] == ("final", "yes")
    assert daily[date(2021, 4, 1)] == ("final", "no")
    assert daily[date(2022, 12, 28)] == ("provisional", "no")
    for name, key, found in (
        ("Performance", "3 years", "partly"),
        ("Performance", "5 years", DASH),
        ("Monthly returns", 2020, "yes"),
        ("Metrics", "1 year", "no"),
        ("Drawdowns", 1, "yes"),
    ):
        assert {row[0]: row[-1] for row in rows(book[name])}[key] == found, name
    assert rows(book["Corrections"]) == [
        (
            datetime(2022, 12, 14),  # noqa: DTZ001
            "applied",
            200.0,
            201.0,
            pytest.approx(0.005),
            datetime(2022, 12, 21, 22, 5),  # noqa: DTZ001
            CAUSE,
        ),
        (
            datetime(2021, 2, 1),  # noqa: DTZ001
            "pending",
            DASH,
            DASH,
            0.0123,
            DASH,
            "closes changed: KO from 1 Feb 2021",
        ),
    ]


def rows(page: Worksheet) -> list[tuple[object, ...]]:
    return list(page.iter_rows(min_row=2, values_only=True))


def test_without_a_known_past_nothing_is_claimed(content: ReportContent, tmp_path: Path) -> None:
    assert content.published_past is None
    assert {back_test.of_comparison(content, row) for row in content.comparisons} == {None}
    excel.write(content, tmp_path / "plain.xlsx")
    book = load_workbook(tmp_path / "plain.xlsx")
    assert rows(book["Daily"])[0][8:] == (None, None)
    assert rows(book["Corrections"]) == []
