"""The report as a workbook: values everywhere, native charts, one sheet of checking formulas."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date
from pathlib import Path
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.chart import AreaChart, BarChart, LineChart, Reference
from openpyxl.chart.axis import DateAxis
from openpyxl.chart.legend import Legend
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from autoindex.reports import checks, theme, zipped
from autoindex.reports.content import ReportContent
from autoindex.reports.wording import is_ratio, metric_label, span, to_date, words

PERCENT: Final = "0.00%;[Color10]-0.00%"
PLAIN_PERCENT: Final = "0.00%"
LEVEL: Final = "#,##0.00"
RATIO: Final = "0.00"
COUNT: Final = "#,##0"
DAY: Final = "yyyy-mm-dd"
TEXT: Final = "@"

_HEAD_FONT: Final = Font(name="Calibri", size=10, bold=True, color="FFFFFF")
_HEAD_FILL: Final = PatternFill("solid", fgColor=theme.ACCENT[1:])
_LINE: Final = Border(bottom=Side("hair", color=theme.RULE[1:]))


def write(content: ReportContent, path: Path) -> None:
    """Write `content` to `path`; the same content gives the same bytes."""
    book = Workbook()
    cover = book.worksheets[0]
    _cover(cover, content)
    for make in (_performance, _daily, _drawdowns, _months, _holdings, _contributions):
        make(book, content)
    for make in (_allocations, _rebalance, _metrics, _notes):
        make(book, content)
    checks.add_sheet(book, content)
    _properties(book, content)
    zipped.save(book, path, content.generated_at)


def _properties(book: Workbook, content: ReportContent) -> None:
    instant = content.generated_at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    book.properties.title = content.title
    book.properties.creator = content.index_name
    book.properties.lastModifiedBy = "Autoindex"
    book.properties.description = content.summary
    book.properties.created = instant
    book.properties.modified = instant


def sheet(
    book: Workbook,
    title: str,
    head: Sequence[str],
    formats: Sequence[str],
    rows: Iterable[Sequence[Any]],
    widths: Sequence[float] = (),
) -> Worksheet:
    """A sheet with one table from A1: typed cells, frozen head and first column, filter."""
    page: Worksheet = book.create_sheet(title)
    page.append(list(head))
    for cell in page[1]:
        cell.font, cell.fill = _HEAD_FONT, _HEAD_FILL
        cell.alignment = Alignment(wrap_text=True, vertical="center")
    for row in rows:
        page.append([_typed(value) for value in row])
    for column, number_format in enumerate(formats, start=1):
        for (cell,) in page.iter_rows(2, page.max_row, column, column):
            cell.number_format = number_format
    for column in range(1, len(head) + 1):
        width = widths[column - 1] if column <= len(widths) else 13.0
        page.column_dimensions[get_column_letter(column)].width = width
    page.freeze_panes = "B2"
    page.auto_filter.ref = page.dimensions
    page.sheet_view.showGridLines = False
    return page


def _typed(value: Any) -> Any:
    # A leading "=" would make a formula of a constituent's name.
    if isinstance(value, str) and value[:1] in "=+-@":
        return f"\u200b{value}"
    return value


def _cover(page: Worksheet, content: ReportContent) -> None:
    page.title = "Cover"
    page.sheet_view.showGridLines = False
    page.column_dimensions["A"].width = 30
    page.column_dimensions["B"].width = 22
    page["A1"] = content.index_name
    page["A1"].font = Font(name="Calibri", size=22, bold=True, color=theme.ACCENT[1:])
    ending = to_date(content.period, content.report_type)
    parts = (content.period.label, span(content.period), ending)
    page["A2"] = f"{content.report_type.capitalize()} report. {', '.join(filter(None, parts))}"
    page["A2"].font = Font(name="Calibri", size=12, color=theme.MUTED[1:])
    page["A4"] = content.summary
    page.merge_cells("A4:H5")
    page["A4"].alignment = Alignment(wrap_text=True, vertical="top")
    for line, (label, value, number_format) in enumerate(_facts(content), start=7):
        page.cell(line, 1, label).border = _LINE
        cell = page.cell(line, 2, value)
        cell.number_format, cell.border = number_format, _LINE
        cell.alignment = Alignment(horizontal="right")
        cell.font = Font(name="Calibri", bold=line <= 16)


def _facts(content: ReportContent) -> list[tuple[str, Any, str]]:
    head = content.headline
    return [
        ("Level", head.level, LEVEL),
        (f"Return, {content.report_type}", head.period_return, PLAIN_PERCENT),
        ("Benchmark's return", head.benchmark_period_return, PLAIN_PERCENT),
        ("Difference", head.period_difference, PLAIN_PERCENT),
        ("Year to date", head.year_to_date_return, PLAIN_PERCENT),
        ("Annual return", head.annual_return, PLAIN_PERCENT),
        ("Annual volatility", head.annual_volatility, PLAIN_PERCENT),
        ("Sharpe ratio", head.sharpe_ratio, RATIO),
        ("Maximum drawdown", head.max_drawdown, PLAIN_PERCENT),
        ("Current drawdown", head.current_drawdown, PLAIN_PERCENT),
        ("Base of the period", content.period.base, DAY),
        ("Last session", content.period.last, DAY),
        ("Inception", content.inception, DAY),
        ("Strategy", words(content.strategy), TEXT),
        ("Rebalanced", words(content.frequency), TEXT),
        ("Benchmark", content.benchmark_name or "none", TEXT),
        ("Currency", content.currency, TEXT),
        ("Data as of (UTC)", content.generated_at.astimezone(UTC).isoformat(" "), TEXT),
    ]


def _performance(book: Workbook, content: ReportContent) -> None:
    sheet(
        book,
        "Performance",
        (
            "Window",
            "From",
            "To",
            "Index",
            "Benchmark",
            "Difference",
            "Index p.a.",
            "Benchmark p.a.",
        ),
        (TEXT, DAY, DAY, *[PLAIN_PERCENT] * 5),
        (
            (
                row.label,
                row.base,
                row.last,
                row.index_return,
                row.benchmark_return,
                row.difference,
                row.index_annual_return,
                row.benchmark_annual_return,
            )
            for row in content.comparisons
        ),
        (28,),
    )


def _daily(book: Workbook, content: ReportContent) -> None:
    series = content.series
    page = sheet(
        book,
        "Daily",
        (
            "Session",
            "Index",
            "Benchmark, rebased",
            "Drawdown",
            "Benchmark drawdown",
            "Rolling volatility",
            "Benchmark rolling volatility",
            "Rolling Sharpe",
        ),
        (DAY, LEVEL, LEVEL, *[PLAIN_PERCENT] * 4, RATIO),
        zip(
            series.sessions,
            series.level,
            series.benchmark,
            series.drawdown,
            series.benchmark_drawdown,
            series.rolling_volatility,
            series.benchmark_rolling_volatility,
            series.rolling_sharpe,
            strict=True,
        ),
    )
    growth = _line_chart(page, "Growth since inception", (2, 3), "0")
    growth.y_axis.scaling.logBase = 10 if max(series.level) > 4 * min(series.level) else None
    page.add_chart(growth, "J2")
    page.add_chart(_line_chart(page, "Drawdown", (4, 5), "0%"), "J20")
    page.add_chart(_line_chart(page, "Rolling volatility", (6, 7), "0%"), "J38")


def _line_chart(
    page: Worksheet, title: str, columns: Sequence[int], number_format: str
) -> LineChart:
    chart = LineChart()
    chart.title, chart.height, chart.width = title, 8.5, 22
    chart.legend = Legend()
    chart.legend.position = "b"
    for column, colour, dash in zip(
        columns, (theme.ACCENT, theme.BENCHMARK), ("solid", "sysDash"), strict=False
    ):
        chart.add_data(
            Reference(page, min_col=column, min_row=1, max_row=page.max_row),
            titles_from_data=True,
        )
        line = chart.series[-1]
        line.smooth = False
        line.graphicalProperties.line.solidFill = colour[1:]
        line.graphicalProperties.line.dashStyle = dash
        line.graphicalProperties.line.width = 12_700
    chart.set_categories(Reference(page, min_col=1, min_row=2, max_row=page.max_row))
    chart.x_axis = DateAxis(crossAx=100)
    chart.x_axis.number_format, chart.x_axis.majorTimeUnit = "yyyy", "years"
    chart.x_axis.tickLblPos, chart.x_axis.delete = "low", False
    chart.y_axis.number_format, chart.y_axis.delete = number_format, False
    chart.y_axis.crossAx = 500
    return chart


def _drawdowns(book: Workbook, content: ReportContent) -> None:
    sheet(
        book,
        "Drawdowns",
        ("Rank", "High", "Low", "Recovered", "Depth", "Sessions down", "Sessions back"),
        (COUNT, DAY, DAY, DAY, PLAIN_PERCENT, COUNT, COUNT),
        (
            (
                rank,
                fall.start,
                fall.trough,
                fall.recovered,
                fall.depth,
                fall.sessions_to_trough,
                fall.sessions_to_recovery,
            )
            for rank, fall in enumerate(content.drawdowns, start=1)
        ),
        (8,),
    )


def _months(book: Workbook, content: ReportContent) -> None:
    months = [date(2000, month, 1).strftime("%b") for month in range(1, 13)]
    page = sheet(
        book,
        "Monthly returns",
        ("Year", *months, "Year's return", "Benchmark"),
        ("0", *[PLAIN_PERCENT] * 14),
        (
            (year.year, *year.months, year.year_return, year.benchmark_year_return)
            for year in content.monthly_returns
        ),
        (8, *[9.0] * 12, 13, 13),
    )
    page.conditional_formatting.add(
        f"B2:M{page.max_row}",
        ColorScaleRule(  # type: ignore[no-untyped-call]
            start_type="num",
            start_value=-0.12,
            start_color="B0B8BC",
            mid_type="num",
            mid_value=0,
            mid_color="FFFFFF",
            end_type="num",
            end_value=0.12,
            end_color="6DA3AD",
        ),
    )


def _holdings(book: Workbook, content: ReportContent) -> None:
    contribution = {row.symbol: row.contribution for row in content.contributions}
    sheet(
        book,
        "Holdings",
        (
            "Symbol",
            "Name",
            "Sector",
            "Weight",
            "Target weight",
            "Units behind one index",
            "Close",
            "Contribution to return",
            "Contribution to risk",
            "Annual volatility",
        ),
        (
            TEXT,
            TEXT,
            TEXT,
            PLAIN_PERCENT,
            PLAIN_PERCENT,
            "0.000000",
            LEVEL,
            *[PLAIN_PERCENT] * 3,
        ),
        (
            (
                row.symbol,
                row.name,
                row.sector,
                row.weight,
                row.target_weight,
                row.units,
                row.close,
                contribution.get(row.symbol),
                row.risk_contribution,
                row.annual_volatility,
            )
            for row in content.holdings
        ),
        (10, 32, 26),
    )


def _contributions(book: Workbook, content: ReportContent) -> None:
    page = sheet(
        book,
        "Contributions",
        ("Symbol", "Name", "Price return", "Contribution"),
        (TEXT, TEXT, PLAIN_PERCENT, PLAIN_PERCENT),
        (
            (row.symbol, row.name, row.price_return, row.contribution)
            for row in content.contributions
        ),
        (10, 32),
    )
    if not content.contributions:
        return
    chart = BarChart()
    chart.type, chart.title, chart.legend = "bar", "Contribution to return", None
    chart.height, chart.width = 0.55 * len(content.contributions) + 3, 18
    chart.add_data(
        Reference(page, min_col=4, min_row=1, max_row=page.max_row), titles_from_data=True
    )
    chart.set_categories(Reference(page, min_col=1, min_row=2, max_row=page.max_row))
    chart.series[0].graphicalProperties.solidFill = theme.ACCENT[1:]
    chart.series[0].invertIfNegative = False
    chart.y_axis.number_format, chart.y_axis.delete = "0.0%", False
    chart.x_axis.tickLblPos, chart.x_axis.delete = "low", False
    chart.x_axis.scaling.orientation = "maxMin"
    page.add_chart(chart, "F2")


def _allocations(book: Workbook, content: ReportContent) -> None:
    table = content.allocations
    sectors = sheet(
        book,
        "Sectors",
        ("Rebalance", *table.sectors),
        (DAY, *[PLAIN_PERCENT] * len(table.sectors)),
        ((day, *row) for day, row in zip(table.sessions, table.sector_weights, strict=True)),
        (12, *[15.0] * len(table.sectors)),
    )
    sheet(
        book,
        "Weights",
        ("Rebalance", *table.symbols),
        (DAY, *[PLAIN_PERCENT] * len(table.symbols)),
        ((day, *row) for day, row in zip(table.sessions, table.weights, strict=True)),
        (12, *[9.0] * len(table.symbols)),
    )
    if not table.sessions:
        return
    chart = AreaChart(grouping="percentStacked")
    chart.title, chart.height, chart.width = "Target weights by sector", 9, 24
    chart.add_data(
        Reference(
            sectors, min_col=2, min_row=1, max_col=sectors.max_column, max_row=sectors.max_row
        ),
        titles_from_data=True,
    )
    for area, shade in zip(chart.series, theme.shades(len(table.sectors)), strict=True):
        area.graphicalProperties.solidFill = shade[1:]
    chart.set_categories(Reference(sectors, min_col=1, min_row=2, max_row=sectors.max_row))
    chart.x_axis.number_format, chart.x_axis.delete = "yyyy", False
    chart.y_axis.number_format, chart.y_axis.delete = "0%", False
    sectors.add_chart(chart, f"{get_column_letter(len(table.sectors) + 3)}2")


def _rebalance(book: Workbook, content: ReportContent) -> None:
    changes = content.rebalance.changes if content.rebalance else ()
    sheet(
        book,
        "Last rebalance",
        ("Symbol", "Name", "Before", "After", "Change"),
        (TEXT, TEXT, *[PLAIN_PERCENT] * 3),
        ((row.symbol, row.name, row.before, row.after, row.change) for row in changes),
        (10, 32),
    )
    sheet(
        book,
        "Turnover",
        ("Rebalance", "One-way turnover"),
        (DAY, PLAIN_PERCENT),
        ((row.session, row.turnover) for row in content.turnovers),
        (12, 18),
    )


def _metrics(book: Workbook, content: ReportContent) -> None:
    page = sheet(
        book,
        "Measures",
        ("Window", "Measure", "Index", "Benchmark", "Name"),
        (TEXT, TEXT, "0.0000", "0.0000", TEXT),
        (
            (words(row.window), metric_label(row.metric), row.index, row.benchmark, row.metric)
            for row in content.metrics
        ),
        (16, 32, 13, 13, 30),
    )
    for line, row in enumerate(content.metrics, start=2):
        for column in (3, 4):
            page.cell(line, column).number_format = RATIO if is_ratio(row.metric) else PLAIN_PERCENT


def _notes(book: Workbook, content: ReportContent) -> None:
    rows = [
        *(("Data quality", note) for note in content.quality_notes),
        *((f"Not shown: {words(gap.part)}", gap.reason) for gap in content.missing),
        *((paragraph.title, paragraph.text) for paragraph in content.method),
    ]
    page = sheet(book, "Notes and method", ("Subject", "Text"), (TEXT, TEXT), rows, (28, 110))
    for (cell,) in page.iter_rows(2, page.max_row, 2, 2):
        cell.alignment = Alignment(wrap_text=True, vertical="top")
