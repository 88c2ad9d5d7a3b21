"""The charts' lines, and the captions that say where they begin."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from autoindex.reports import captions
from autoindex.reports.compose import compose
from autoindex.reports.content import ReportContent
from autoindex.reports.inputs import ReportInputs
from autoindex.reports.mail import body
from autoindex.reports.pdf import charts

Make = Callable[..., ReportInputs]


@pytest.fixture(scope="module")
def cleaned(make_inputs: Make, benchmark: pd.Series) -> ReportContent:
    """After a cleanup: the benchmark has closes of the last year only, the index of all five."""
    return compose(make_inputs(benchmark=benchmark["2021-12-28":"2022-12-28"]))


def lines(axes: Axes) -> list[Line2D]:
    """The lines of values, without gridlines, ticks and legends."""
    return [line for line in axes.lines if len(np.atleast_1d(line.get_xdata())) > 2]


def test_a_benchmark_that_begins_late_begins_on_the_index(cleaned: ReportContent) -> None:
    index, benchmark = lines(charts.recent(cleaned, 400, 200).axes[0])
    ours, theirs = np.asarray(index.get_ydata()), np.asarray(benchmark.get_ydata())
    first = cleaned.series.sessions.index(pd.Timestamp("2021-12-28").date())
    assert np.isnan(theirs[:first]).all()
    assert theirs[first] == pytest.approx(ours[first])
    # From there on it grows as the benchmark does: 3783.22 of 4786.35 on 28 December.
    assert (1 + theirs[-1]) / (1 + theirs[first]) == pytest.approx(3783.22 / 4786.35, rel=1e-5)


def test_a_benchmark_from_the_start_begins_at_zero(content: ReportContent) -> None:
    index, benchmark = lines(charts.recent(content, 400, 200).axes[0])
    assert np.asarray(index.get_ydata())[0] == np.asarray(benchmark.get_ydata())[0] == 0.0


def test_captions_say_where_the_lines_begin(
    content: ReportContent, cleaned: ReportContent, make_inputs: Make
) -> None:
    assert captions.growth(content) == "Both lines start at 100 on 2 Jan 2018, linear scale"
    assert captions.growth(cleaned) == (
        "The index starts at 100 on 2 Jan 2018; the benchmark begins on 28 Dec 2021, at the "
        "index's value, linear scale"
    )
    alone = compose(make_inputs(benchmark=None))
    assert captions.growth(alone) == "From 100 on 2 Jan 2018, linear scale"
    assert captions.recent(alone) == captions.recent(content) == "Return since inception"
    assert captions.recent(cleaned).endswith(
        "the benchmark begins on 28 Dec 2021, at the index's value"
    )
    assert (
        captions.period(cleaned)
        == captions.period(content)
        == "Return from the close of 30 Nov 2022"
    )
    assert captions.drawdown(content) == "Below the highest close so far"
    assert captions.drawdown(cleaned).endswith("; of the benchmark since 28 Dec 2021")


def test_the_mail_says_the_same(cleaned: ReportContent) -> None:
    html = body.html(cleaned, "here", None, "chart").replace("&#x27;", "'")
    assert captions.recent(cleaned) in html


def test_more_than_five_years_are_cut(make_inputs: Make) -> None:
    long = compose(make_inputs(start="2016-01-04"))
    assert captions.recent(long) == "Return over the last five years"


def test_a_benchmark_without_a_close_in_the_window_has_no_line(
    make_inputs: Make, benchmark: pd.Series
) -> None:
    gone = compose(make_inputs(benchmark=benchmark["2018-01-02":"2022-06-30"]))
    assert len(lines(charts.period(gone, 400, 200).axes[0])) == 1
    assert gone.benchmark_name == "S&P 500"
    assert captions.period(gone) == "Return from the close of 30 Nov 2022"
