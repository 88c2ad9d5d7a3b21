"""The workbook's charts, on one sheet, which the spreadsheet program draws from the tables."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from openpyxl import Workbook
from openpyxl.chart import AreaChart, BarChart, LineChart, Reference, Series
from openpyxl.chart.axis import ChartLines, DateAxis
from openpyxl.chart.legend import Legend
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.drawing.spreadsheet_drawing import AnchorMarker, TwoCellAnchor
from openpyxl.worksheet.worksheet import Worksheet

from autoindex.reports import theme
from autoindex.reports.content import Allocations, ReportContent
from autoindex.reports.pdf.charts import REBALANCES, is_logarithmic
from autoindex.reports.wording import day
from autoindex.reports.workbook.worksheet import to_print

Chart = LineChart | BarChart | AreaChart

# In cells: a chart fills its cells, so that no widths or heights make two overlap.
_COLUMNS: Final = 10
_ROWS: Final = 18
_MOST_BARS: Final = 20


def add_sheet(book: Workbook, content: ReportContent) -> None:
    """Add the sheet `Charts` behind the cover; the tables must be there already."""
    page: Worksheet = book.create_sheet("Charts", 1)
    charts = _charts(book, content)
    to_print(page, len(charts), 2 * _COLUMNS)
    page.page_setup.fitToHeight = 1
    for place, chart in enumerate(charts):
        down, across = divmod(place, 2)
        start = AnchorMarker(col=across * (_COLUMNS + 1), row=down * (_ROWS + 1))
        end = AnchorMarker(col=start.col + _COLUMNS, row=start.row + _ROWS)
        chart.anchor = TwoCellAnchor("oneCell", _from=start, to=end)  # type: ignore[assignment]
        page.add_chart(chart)


def _charts(book: Workbook, content: ReportContent) -> list[Chart]:
    daily, sessions = book["Daily"], content.series.sessions
    growth = _lines(daily, _growth_title(content), (2, 3), sessions)
    growth.y_axis.number_format = "#,##0"
    if is_logarithmic(content):
        growth.y_axis.scaling.logBase = 10
    charts: list[Chart] = [
        growth,
        _lines(daily, "Drawdown", (4, 5), sessions),
        _lines(daily, "Rolling volatility", (6, 7), sessions),
        _lines(daily, "Rolling Sharpe ratio", (8,), sessions),
    ]
    charts[3].y_axis.number_format = "0.0"
    if content.allocations.sessions:
        charts.append(_sectors(book["Sectors"], content.allocations))
    return [*charts, *_contributions(book["Contributions"], len(content.contributions))]


def _growth_title(content: ReportContent) -> str:
    past = content.published_past
    tested = f", back-tested until {day(past.back_tested_until)}" if past else ""
    return f"Growth since inception{tested}"


def _lines(
    page: Worksheet, title: str, columns: Sequence[int], sessions: Sequence[date]
) -> LineChart:
    chart = LineChart()
    _shape(chart, title)
    looks = ((theme.ACCENT, "solid"), (theme.BENCHMARK, "sysDash"))
    for column, (colour, dash) in zip(columns, looks, strict=False):
        values = Reference(page, min_col=column, min_row=1, max_row=len(sessions) + 1)
        chart.add_data(values, titles_from_data=True)
        line = chart.series[-1]
        line.smooth = False
        line.graphicalProperties.line.solidFill = colour[1:]
        line.graphicalProperties.line.dashStyle = dash
        line.graphicalProperties.line.width = 12_700
    _dates(chart, page, sessions)
    return chart


def _dates(
    chart: LineChart | AreaChart, page: Worksheet, days: Sequence[date], first_row: int = 2
) -> None:
    last_row = first_row + len(days) - 1
    chart.set_categories(Reference(page, min_col=1, min_row=first_row, max_row=last_row))
    chart.x_axis = DateAxis(crossAx=100)
    chart.x_axis.number_format, chart.x_axis.majorTimeUnit = "yyyy", "years"
    chart.x_axis.tickLblPos, chart.x_axis.delete = "low", False
    chart.x_axis.majorUnit = max(1, round((days[-1].year - days[0].year) / 7))
    chart.y_axis.crossAx, chart.y_axis.delete = 500, False
    chart.y_axis.number_format = "0%"


def _shape(chart: Chart, title: str) -> None:
    chart.title = title
    chart.legend = Legend()
    chart.legend.position = "b"
    pale = GraphicalProperties()
    pale.line.solidFill = theme.RULE[1:]
    chart.y_axis.majorGridlines = ChartLines(spPr=pale)


def _sectors(page: Worksheet, table: Allocations) -> AreaChart:
    """As in the PDF: as many rebalances, and today's largest sector at the bottom."""
    chart = AreaChart(grouping="percentStacked")
    _shape(chart, "Sector weights, recent rebalances")
    last_row = len(table.sessions) + 1
    first_row = max(last_row - REBALANCES + 1, 2)
    newest = table.sector_weights[-1]
    order = sorted(range(len(newest)), key=lambda place: -newest[place])
    for place, shade in zip(order, theme.shades(len(order)), strict=True):
        values = Reference(page, min_col=place + 2, min_row=first_row, max_row=last_row)
        area = Series(values, title=table.sectors[place])
        area.graphicalProperties.solidFill = shade[1:]
        chart.series.append(area)
    _dates(chart, page, table.sessions[first_row - 2 :], first_row)
    return chart


def _contributions(page: Worksheet, count: int) -> list[Chart]:
    """All of them, or the most and the least where all would not be legible."""
    if count > _MOST_BARS:
        last, half = count + 1, _MOST_BARS // 2
        return [
            _bars(page, "Largest contributions to return", 2, half + 1),
            _bars(page, "Smallest contributions to return", last - half + 1, last),
        ]
    return [_bars(page, "Contributions to return", 2, count + 1)] if count else []


def _bars(page: Worksheet, title: str, first_row: int, last_row: int) -> BarChart:
    chart = BarChart()
    _shape(chart, title)
    chart.legend = None
    chart.type, chart.gapWidth = "bar", 40
    values = Reference(page, min_col=4, min_row=first_row, max_row=last_row)
    chart.add_data(values)
    chart.set_categories(Reference(page, min_col=1, min_row=first_row, max_row=last_row))
    chart.series[0].graphicalProperties.solidFill = theme.ACCENT[1:]
    chart.series[0].invertIfNegative = False
    chart.y_axis.number_format, chart.y_axis.delete = "0.0%", False
    # Reversed, so that the largest is at the top; the scale stays at the bottom.
    chart.y_axis.crosses, chart.x_axis.tickLblSkip = "max", 1
    chart.x_axis.tickLblPos, chart.x_axis.delete = "low", False
    chart.x_axis.scaling.orientation = "maxMin"
    return chart
