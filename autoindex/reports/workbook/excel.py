"""The report as a workbook: a cover, charts, tables of values, a sheet of check formulas."""

from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.styles import Alignment, Border, Font, Side
from openpyxl.worksheet.hyperlink import Hyperlink
from openpyxl.worksheet.worksheet import Worksheet

from autoindex.reports import theme
from autoindex.reports.content import ReportContent
from autoindex.reports.wording import NOTHING, footnote, return_label, subtitle, words
from autoindex.reports.workbook import check_sheet, native_charts, sheets, stable_zip
from autoindex.reports.workbook.worksheet import (
    DAY,
    LEVEL,
    PERCENT,
    RATIO,
    TEXT,
    keep_values,
    spreadsheet_time,
    to_print,
)

FIRST_FACT: Final = 7
_SUMMARY_CHARACTERS: Final = 110
_HEADLINES: Final = 11
_LINE: Final = Border(bottom=Side("hair", color=theme.RULE[1:]))


def write(content: ReportContent, path: Path) -> None:
    """Write `content` to `path`; the same content gives the same bytes."""
    book = Workbook()
    cover: Worksheet = book.worksheets[0]
    cover.title = "Cover"
    sheets.add_all(book, content)
    native_charts.add_sheet(book, content)
    _cover(cover, content)
    _links(cover, [*book.sheetnames[1:], check_sheet.TITLE])
    for page in book.worksheets:
        keep_values(page)
    # Only these cells are formulas, and none of them holds a name.
    check_sheet.add_sheet(book, content)
    _properties(book, content)
    stable_zip.save(book, path, content.generated_at)


def _properties(book: Workbook, content: ReportContent) -> None:
    book.properties.title = content.title
    book.properties.creator = content.index_name
    book.properties.lastModifiedBy = "Autoindex"
    book.properties.description = content.summary
    book.properties.created = spreadsheet_time(content.generated_at)
    book.properties.modified = spreadsheet_time(content.generated_at)


def _cover(page: Worksheet, content: ReportContent) -> None:
    to_print(page)
    for column, width in zip("ABCDE", (30, 22, 4, 26, 40), strict=True):
        page.column_dimensions[column].width = width
    page["A1"] = content.index_name
    page["A1"].font = Font(name="Calibri", size=22, bold=True, color=theme.ACCENT[1:])
    page["A2"] = subtitle(content)
    page["A2"].font = Font(name="Calibri", size=12, color=theme.MUTED[1:])
    page["A4"] = content.summary
    page["A4"].alignment = Alignment(wrap_text=True, vertical="top")
    page.merge_cells("A4:E4")
    lines = len(wrap(content.summary, _SUMMARY_CHARACTERS))
    page.row_dimensions[4].height = max(50, 16 * lines)
    facts = _facts(content)
    for line, (label, value, number_format) in enumerate(facts, start=FIRST_FACT):
        page.cell(line, 1, label).border = _LINE
        cell = page.cell(line, 2, NOTHING if value is None else value)
        cell.number_format, cell.border = number_format, _LINE
        cell.alignment = Alignment(horizontal="right")
        cell.font = Font(name="Calibri", bold=line < FIRST_FACT + _HEADLINES)
    if short := footnote(value for _, value, _ in facts):
        _footnote(page, FIRST_FACT + len(facts) + 1, short)


def _footnote(page: Worksheet, line: int, text: str) -> None:
    cell = page.cell(line, 1, text)
    cell.font = Font(name="Calibri", color=theme.MUTED[1:])
    cell.alignment = Alignment(wrap_text=True, vertical="top")
    page.merge_cells(start_row=line, end_row=line, start_column=1, end_column=5)
    page.row_dimensions[line].height = 30


def _facts(content: ReportContent) -> list[tuple[str, Any, str]]:
    head = content.headline
    return [
        ("Level", head.level, LEVEL),
        (return_label(content), head.period_return, PERCENT),
        ("Benchmark's return", head.benchmark_period_return, PERCENT),
        ("Difference", head.period_difference, PERCENT),
        ("Year to date", head.year_to_date_return, PERCENT),
        ("Annual return", head.annual_return, PERCENT),
        ("Annual volatility", head.annual_volatility, PERCENT),
        ("Sharpe ratio", head.sharpe_ratio, RATIO),
        ("Maximum drawdown", head.max_drawdown, PERCENT),
        ("Current drawdown", head.current_drawdown, PERCENT),
        ("Turnover a year, one-way", content.annual_turnover, PERCENT),
        ("Base of the period", content.period.base, DAY),
        ("Last session", content.period.last, DAY),
        ("Base date", content.inception, DAY),
        *_launch(content),
        ("Strategy", words(content.strategy), TEXT),
        ("Rebalanced", words(content.frequency), TEXT),
        ("Benchmark", content.benchmark_name or "none", TEXT),
        ("Currency", content.currency, TEXT),
        ("Data as of (UTC)", spreadsheet_time(content.generated_at), "yyyy-mm-dd hh:mm"),
    ]


def _launch(content: ReportContent) -> list[tuple[str, Any, str]]:
    past = content.published_past
    if past is None:
        return []
    return [
        ("Launch date", past.launched_at.date(), DAY),
        ("Back-tested until", past.back_tested_until, DAY),
    ]


def _links(page: Worksheet, names: list[str]) -> None:
    page.cell(FIRST_FACT - 1, 4, "Sheets").font = Font(name="Calibri", bold=True)
    for line, name in enumerate(names, start=FIRST_FACT):
        cell = page.cell(line, 4, name)
        cell.hyperlink = Hyperlink(ref=cell.coordinate, location=f"'{name}'!A1", display=name)
        cell.font = Font(name="Calibri", color=theme.ACCENT[1:], underline="single")
