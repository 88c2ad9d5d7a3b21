"""The workbook's tables: each part of the content as values."""

from calendar import month_abbr
from collections.abc import Sequence
from typing import Any

from openpyxl import Workbook
from openpyxl.formatting.rule import ColorScaleRule

from autoindex.reports import back_test
from autoindex.reports.content import Number, ReportContent
from autoindex.reports.wording import (
    NOTHING,
    correction_cause,
    is_ratio,
    metric_label,
    window_label,
    words,
)
from autoindex.reports.workbook.worksheet import (
    COUNT,
    DAY,
    LEVEL,
    PERCENT,
    RATIO,
    TEXT,
    UNITS,
    WRAPPED,
    add_table,
    spreadsheet_time,
)


def add_all(book: Workbook, content: ReportContent) -> None:
    """Add every table, in the order of the PDF."""
    for add in (_performance, _daily, _drawdowns, _metrics, _months, _holdings):
        add(book, content)
    for add in (_contributions, _allocations, _rebalance, _turnover, _corrections, _notes):
        add(book, content)


def _performance(book: Workbook, content: ReportContent) -> None:
    columns = [
        ("Window", TEXT),
        ("From", DAY),
        ("To", DAY),
        ("Index", PERCENT),
        ("Benchmark", PERCENT),
        ("Difference", PERCENT),
        ("Index p.a.", PERCENT),
        ("Benchmark p.a.", PERCENT),
        ("Index volatility", PERCENT),
        ("Benchmark volatility", PERCENT),
        ("Back-tested", TEXT),
    ]
    rows = [
        (
            row.label,
            row.base,
            row.last,
            row.index_return,
            row.benchmark_return,
            row.difference,
            row.index_annual_return,
            row.benchmark_annual_return,
            row.index_annual_volatility,
            row.benchmark_annual_volatility,
            back_test.of_comparison(content, row),
        )
        for row in content.comparisons
    ]
    add_table(book, "Performance", columns, rows, (28,), missing=NOTHING)


def _daily(book: Workbook, content: ReportContent) -> None:
    series = content.series
    columns = [
        ("Session", DAY),
        ("Index", LEVEL),
        ("Benchmark, rebased", LEVEL),
        ("Drawdown", PERCENT),
        ("Benchmark drawdown", PERCENT),
        ("Rolling volatility", PERCENT),
        ("Benchmark rolling volatility", PERCENT),
        ("Rolling Sharpe", RATIO),
        ("Status", TEXT),
        ("Back-tested", TEXT),
    ]
    values = zip(
        series.sessions,
        series.level,
        series.benchmark,
        series.drawdown,
        series.benchmark_drawdown,
        series.rolling_volatility,
        series.benchmark_rolling_volatility,
        series.rolling_sharpe,
        *_published(content),
        strict=True,
    )
    add_table(book, "Daily", columns, list(values))


def _published(content: ReportContent) -> tuple[Sequence[str | None], Sequence[str | None]]:
    """Of each session: whether its level is final or provisional, and whether it is back-tested."""
    past, days = content.published_past, content.series.sessions
    if past is None:
        return [None] * len(days), [None] * len(days)
    provisional = {one.session for one in past.provisional}
    return (
        ["provisional" if day in provisional else "final" for day in days],
        ["yes" if day <= past.back_tested_until else "no" for day in days],
    )


def _drawdowns(book: Workbook, content: ReportContent) -> None:
    columns = [
        ("Rank", COUNT),
        ("High", DAY),
        ("Low", DAY),
        ("Recovered", DAY),
        ("Depth", PERCENT),
        ("Sessions down", COUNT),
        ("Sessions back", COUNT),
        ("Back-tested", TEXT),
    ]
    rows = [
        (
            rank,
            fall.start,
            fall.trough,
            fall.recovered,
            fall.depth,
            fall.sessions_to_trough,
            fall.sessions_to_recovery,
            back_test.of_drawdown(content, fall),
        )
        for rank, fall in enumerate(content.drawdowns, start=1)
    ]
    add_table(book, "Drawdowns", columns, rows, (8,))


def _metrics(book: Workbook, content: ReportContent) -> None:
    columns = [
        ("Window", TEXT),
        ("Metric", TEXT),
        ("Index", PERCENT),
        ("Benchmark", PERCENT),
        ("Name in the API", TEXT),
        ("Back-tested", TEXT),
    ]
    rows = [
        (
            window_label(row.window),
            metric_label(row.metric),
            _in_its_unit(row.metric, row.index),
            _in_its_unit(row.metric, row.benchmark),
            row.metric,
            back_test.of_window(content, row.window),
        )
        for row in content.metrics
    ]
    add_table(book, "Metrics", columns, rows, (18, 32, 13, 13, 30), missing=NOTHING)


def _in_its_unit(metric: str, value: Number) -> tuple[Number, str]:
    return value, RATIO if is_ratio(metric) else PERCENT


def _months(book: Workbook, content: ReportContent) -> None:
    months = [(name, PERCENT) for name in month_abbr[1:]]
    columns = [("Year", "0"), *months, ("Year's return", PERCENT), ("Benchmark", PERCENT)]
    columns.append(("Back-tested", TEXT))
    rows = [
        (
            year.year,
            *(_whole(value, at not in year.incomplete) for at, value in enumerate(year.months, 1)),
            _whole(year.year_return, year.whole),
            _whole(year.benchmark_year_return, year.whole),
            back_test.of_year(content, year.year),
        )
        for year in content.monthly_returns
    ]
    page = add_table(book, "Monthly returns", columns, rows, (8, *[9.0] * 12, 13, 13))
    shades = ColorScaleRule(  # type: ignore[no-untyped-call]
        start_type="num",
        start_value=-0.12,
        start_color="B0B8BC",
        mid_type="num",
        mid_value=0,
        mid_color="FFFFFF",
        end_type="num",
        end_value=0.12,
        end_color="6DA3AD",
    )
    page.conditional_formatting.add(f"B2:M{len(rows) + 1}", shades)


def _whole(value: Number, whole: bool) -> tuple[Number, str]:
    return value, PERCENT if whole else f'{PERCENT}"*"'


def _holdings(book: Workbook, content: ReportContent) -> None:
    contribution = {row.symbol: row.contribution for row in content.contributions}
    columns = [
        ("Symbol", TEXT),
        ("Name", TEXT),
        ("Sector", TEXT),
        ("Weight", PERCENT),
        ("Target weight", PERCENT),
        ("Units behind one index", UNITS),
        ("Close", LEVEL),
        ("Contribution to return", PERCENT),
        ("Contribution to risk", PERCENT),
        ("Annual volatility", PERCENT),
    ]
    rows = [
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
    ]
    add_table(book, "Holdings", columns, rows, (10, 32, 26), missing=NOTHING)


def _contributions(book: Workbook, content: ReportContent) -> None:
    columns = [
        ("Symbol", TEXT),
        ("Name", TEXT),
        ("Price return", PERCENT),
        ("Contribution", PERCENT),
    ]
    rows = [
        (row.symbol, row.name, row.price_return, row.contribution) for row in content.contributions
    ]
    add_table(book, "Contributions", columns, rows, (10, 32))


def _allocations(book: Workbook, content: ReportContent) -> None:
    table = content.allocations
    for title, names, weights in (
        ("Sectors", table.sectors, table.sector_weights),
        ("Weights", table.symbols, table.weights),
    ):
        columns = [("Rebalance", DAY), *((name, PERCENT) for name in names)]
        rows = [(day, *row) for day, row in zip(table.sessions, weights, strict=True)]
        add_table(book, title, columns, rows, (12,))


def _rebalance(book: Workbook, content: ReportContent) -> None:
    columns = [
        ("Symbol", TEXT),
        ("Name", TEXT),
        ("Before", PERCENT),
        ("After", PERCENT),
        ("Change", PERCENT),
    ]
    changes = content.rebalance.changes if content.rebalance else ()
    rows = [(row.symbol, row.name, row.before, row.after, row.change) for row in changes]
    add_table(book, "Last rebalance", columns, rows, (10, 32))


def _turnover(book: Workbook, content: ReportContent) -> None:
    columns = [("Rebalance", DAY), ("One-way turnover", PERCENT)]
    rows = [(row.session, row.turnover) for row in content.turnovers]
    add_table(book, "Turnover", columns, rows, (12, 18))


def _corrections(book: Workbook, content: ReportContent) -> None:
    columns = [
        ("Session", DAY),
        ("State", TEXT),
        ("Published level", LEVEL),
        ("Replaced by", LEVEL),
        ("Change, or effect", PERCENT),
        ("Published (UTC)", "yyyy-mm-dd hh:mm"),
        ("Cause", TEXT),
    ]
    past = content.published_past
    changes, pending = (past.changes, past.pending) if past else ((), ())
    rows: list[tuple[Any, ...]] = [
        (
            one.session,
            "applied",
            one.old_level,
            one.new_level,
            one.new_level / one.old_level - 1,
            spreadsheet_time(one.published_at),
            one.cause,
        )
        for one in changes
    ]
    rows += [
        (one.session, "pending", None, None, one.effect, None, correction_cause(one))
        for one in pending
    ]
    widths = (12, 11, 13, 13, 13, 17, 60)
    add_table(book, "Corrections", columns, rows, widths, missing=NOTHING)


def _notes(book: Workbook, content: ReportContent) -> None:
    short = any(not year.whole for year in content.monthly_returns)
    rows = [
        *(("Data quality", note) for note in content.quality_notes),
        *([("Monthly returns", "* marks a month or a year that is cut short.")] if short else []),
        *((f"Not shown: {words(gap.part)}", gap.reason) for gap in content.missing),
        *((paragraph.title, paragraph.text) for paragraph in content.method),
    ]
    columns = [("Subject", WRAPPED), ("Text", WRAPPED)]
    add_table(book, "Notes and method", columns, rows, (28, 110))
