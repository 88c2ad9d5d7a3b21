"""The report as a workbook: a cover, charts, tables of values, a sheet of check formulas."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.cell import Cell
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
    spreadsheet_time,
    styled,
    to_print,
)

FIRST_FACT: Final = 7
_SUMMARY_CHARACTERS: Final = 110
_HEADLINES: Final = 11
_WIDTHS: Final = (30, 22, 4, 26, 40)
_LINE: Final = Border(bottom=Side("hair", color=theme.RULE[1:]))
_TITLE: Final = Font(name="Calibri", size=22, bold=True, color=theme.ACCENT[1:])
_SUBTITLE: Final = Font(name="Calibri", size=12, color=theme.MUTED[1:])
_MUTED: Final = Font(name="Calibri", color=theme.MUTED[1:])
_LINK: Final = Font(name="Calibri", color=theme.ACCENT[1:], underline="single")
_IN_LINES: Final = Alignment(wrap_text=True, vertical="top")


def write(content: ReportContent, path: Path) -> None:
    """Write `content` to `path`; the same content gives the same bytes."""
    book = Workbook(write_only=True)
    cover: Worksheet = book.create_sheet("Cover")
    sheets.add_all(book, content)
    native_charts.add_sheet(book, content)
    values = check_sheet.add_sheet(book, content)
    _cover(cover, content, book.sheetnames[1:])
    _properties(book, content)
    stable_zip.save(book, path, content.generated_at, values)


def _properties(book: Workbook, content: ReportContent) -> None:
    book.properties.title = content.title
    book.properties.creator = content.index_name
    book.properties.lastModifiedBy = "Autoindex"
    book.properties.description = content.summary
    book.properties.created = spreadsheet_time(content.generated_at)
    book.properties.modified = spreadsheet_time(content.generated_at)


def _cover(page: Worksheet, content: ReportContent, sheets: Sequence[str]) -> None:
    facts = _facts(content)
    _layout(page, content, len(facts))
    page.append([styled(page, content.index_name, font=_TITLE)])
    page.append([styled(page, subtitle(content), font=_SUBTITLE)])
    page.append([])
    page.append([styled(page, content.summary, alignment=_IN_LINES)])
    page.append([])
    page.append([None, None, None, styled(page, "Sheets", font=Font(name="Calibri", bold=True))])
    for line, (fact, sheet) in enumerate(zip_longest(facts, sheets)):
        cells = [None, None] if fact is None else _fact(page, fact, bold=line < _HEADLINES)
        page.append([*cells, None, sheet and _link(page, sheet)])
    page.append([])
    if short := footnote(value for _, value, _ in facts):
        page.append([styled(page, short, font=_MUTED, alignment=_IN_LINES)])


def _layout(page: Worksheet, content: ReportContent, facts: int) -> None:
    to_print(page, facts, len(_WIDTHS))
    for column, width in zip("ABCDE", _WIDTHS, strict=True):
        page.column_dimensions[column].width = width
    lines = len(wrap(content.summary, _SUMMARY_CHARACTERS))
    page.row_dimensions[4].height = max(50, 16 * lines)
    note = FIRST_FACT + facts + 1
    page.row_dimensions[note].height = 30
    for line in (4, note):
        page.merged_cells.add(f"A{line}:E{line}")


def _fact(page: Worksheet, fact: tuple[str, Any, str], *, bold: bool) -> list[Cell | None]:
    label, value, number_format = fact
    return [
        styled(page, label, border=_LINE),
        styled(
            page,
            NOTHING if value is None else value,
            number_format=number_format,
            border=_LINE,
            alignment=Alignment("right"),
            font=Font(name="Calibri", bold=bold),
        ),
    ]


def _link(page: Worksheet, sheet: str) -> Cell:
    link = Hyperlink(ref="A1", location=f"'{sheet}'!A1", display=sheet)
    return styled(page, sheet, font=_LINK, hyperlink=link)


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
