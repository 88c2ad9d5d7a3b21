"""The workbook's charts, on one sheet, which the spreadsheet program draws from the tables."""

from collections.abc import Sequence
from typing import Any

from openpyxl import Workbook
from openpyxl.chart import AreaChart, BarChart, LineChart, Reference, Series
from openpyxl.chart.axis import ChartLines, DateAxis
from openpyxl.chart.legend import Legend
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.worksheet.worksheet import Worksheet

from autoindex.reports import theme
from autoindex.reports.content import ReportContent
from autoindex.reports.pdf.charts import REBALANCES, is_logarithmic
from autoindex.reports.wording import day
from autoindex.reports.workbook.worksheet import to_print

_WIDTH = 17.0
_HEIGHT = 8.5
_PLACES = ("A2", "J2", "A20", "J20", "A38", "J38")


def add_sheet(book: Workbook, content: ReportContent) -> None:
    """Add the sheet `Charts` behind the cover; the tables must be there already."""
    page: Worksheet = book.create_sheet("Charts", 1)
    to_print(page)
    page.page_setup.fitToHeight = 1
    daily = book["Daily"]
    growth = _lines(daily, _growth_title(content), (2, 3), "#,##0")
    if is_logarithmic(content):
        growth.y_axis.scaling.logBase = 10
    charts: list[LineChart | BarChart | AreaChart] = [
        growth,
        _lines(daily, "Drawdown", (4, 5), "0%"),
        _lines(daily, "Rolling volatility", (6, 7), "0%"),
        _lines(daily, "Rolling Sharpe ratio", (8,), "0.0"),
    ]
    if content.allocations.sessions:
        charts.append(_sectors(book["Sectors"]))
    if content.contributions:
        charts.append(_contributions(book["Contributions"]))
    for chart, place in zip(charts, _PLACES, strict=False):
        page.add_chart(chart, place)


def _growth_title(content: ReportContent) -> str:
    past = content.published_past
    tested = f", back-tested until {day(past.back_tested_until)}" if past else ""
    return f"Growth since inception{tested}"


def _lines(page: Worksheet, title: str, columns: Sequence[int], number_format: str) -> LineChart:
    chart = LineChart()
    _shape(chart, title)
    looks = ((theme.ACCENT, "solid"), (theme.BENCHMARK, "sysDash"))
    for column, (colour, dash) in zip(columns, looks, strict=False):
        values = Reference(page, min_col=column, min_row=1, max_row=page.max_row)
        chart.add_data(values, titles_from_data=True)
        line = chart.series[-1]
        line.smooth = False
        line.graphicalProperties.line.solidFill = colour[1:]
        line.graphicalProperties.line.dashStyle = dash
        line.graphicalProperties.line.width = 12_700
    _dates(chart, page)
    chart.y_axis.number_format = number_format
    return chart


def _dates(chart: LineChart | AreaChart, page: Worksheet, row: int = 2) -> None:
    chart.set_categories(Reference(page, min_col=1, min_row=row, max_row=page.max_row))
    chart.x_axis = DateAxis(crossAx=100)
    chart.x_axis.number_format, chart.x_axis.majorTimeUnit = "yyyy", "years"
    chart.x_axis.tickLblPos, chart.x_axis.delete = "low", False
    first: Any = page.cell(row, 1).value
    last: Any = page.cell(page.max_row, 1).value
    chart.x_axis.majorUnit = max(1, round((last.year - first.year) / 7))
    chart.y_axis.crossAx, chart.y_axis.delete = 500, False


def _shape(chart: LineChart | BarChart | AreaChart, title: str) -> None:
    chart.title = title
    chart.width, chart.height = _WIDTH, _HEIGHT  # type: ignore[assignment]
    chart.legend = Legend()
    chart.legend.position = "b"
    pale = GraphicalProperties()
    pale.line.solidFill = theme.RULE[1:]
    chart.y_axis.majorGridlines = ChartLines(spPr=pale)


def _sectors(page: Worksheet) -> AreaChart:
    chart = AreaChart(grouping="percentStacked")
    # As many as the PDF shows: more would not be legible.
    first = max(page.max_row - REBALANCES + 1, 2)
    _shape(chart, "Sector weights, recent rebalances")
    for column in range(2, page.max_column + 1):
        values = Reference(page, min_col=column, min_row=first, max_row=page.max_row)
        chart.series.append(Series(values, title_from_data=False, title=page.cell(1, column).value))
    for area, shade in zip(chart.series, theme.shades(len(chart.series)), strict=True):
        area.graphicalProperties.solidFill = shade[1:]
    _dates(chart, page, first)
    chart.y_axis.number_format = "0%"
    return chart


def _contributions(page: Worksheet) -> BarChart:
    chart = BarChart()
    _shape(chart, "Contributions to return")
    chart.legend = None
    chart.type, chart.gapWidth = "bar", 40
    chart.height = max(_HEIGHT, 0.5 * page.max_row)
    values = Reference(page, min_col=4, min_row=1, max_row=page.max_row)
    chart.add_data(values, titles_from_data=True)
    chart.set_categories(Reference(page, min_col=1, min_row=2, max_row=page.max_row))
    chart.series[0].graphicalProperties.solidFill = theme.ACCENT[1:]
    chart.series[0].invertIfNegative = False
    chart.y_axis.number_format, chart.y_axis.delete = "0.0%", False
    # Reversed, so that the largest is at the top; the scale stays at the bottom.
    chart.y_axis.crosses, chart.x_axis.tickLblSkip = "max", 1
    chart.x_axis.tickLblPos, chart.x_axis.delete = "low", False
    chart.x_axis.scaling.orientation = "maxMin"
    return chart
