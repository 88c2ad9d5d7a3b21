"""The parts of the pages: each a heading and what stands under it, empty without any data."""

from collections.abc import Sequence
from typing import Final

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether, Spacer

from autoindex.reports import back_test, captions
from autoindex.reports.content import Paragraph, ReportContent
from autoindex.reports.pdf import charts, fact_tables, report_tables
from autoindex.reports.pdf.flowables import (
    BODY,
    CAPTION,
    GAP,
    PRINT,
    SUBHEADING,
    Chart,
    Gap,
    Heading,
    say,
    side_by_side,
)
from autoindex.reports.wording import NOTHING, day, footnote, percent, words
from autoindex.requests import ReportType

_SMALL: Final = GAP / 2
_YEARS_HEIGHT: Final = 52 * mm
# US Letter is lower than A4: with charts as high, what follows would leave most of a page empty.
_CHART_OF: Final = {"a4": 1.0, "letter": 0.68}
_MOST_HEIGHT: Final = 210 * mm
# Half a column has room for so many symbols above its table; the other formats have all of them.
_LISTED: Final = 30
_UNCOVERED: Final = "benchmark_history"


def growth(content: ReportContent, width: float, height: float) -> list[Flowable]:
    """Index and benchmark since the base date."""
    chart = Chart(charts.growth(content, width, height))
    return [Heading("Growth since base date"), say(captions.growth(content), CAPTION), chart]


def largest(content: ReportContent, width: float) -> list[Flowable]:
    """The ten largest holdings."""
    if not content.holdings:
        return []
    return [Heading("Largest holdings"), fact_tables.largest(content, width)]


def period(content: ReportContent, width: float, height: float) -> list[Flowable]:
    """The period's returns, with the sessions before it where it has only a few.

    Empty where that is the whole history, which is on the first page of the longer reports.
    """
    start = charts.period_start(content)
    if start == 0 and content.report_type is not ReportType.DAILY:
        return []
    longer = content.series.sessions[start] < content.period.base
    sessions = len(content.series.sessions) - 1 - start
    return [
        Heading(f"Last {sessions} sessions" if longer else "The period"),
        say(captions.period(content), CAPTION),
        Chart(charts.period(content, width, height)),
    ]


def movers(content: ReportContent, width: float) -> list[Flowable]:
    """The largest and the smallest contributions, as a table."""
    if not content.contributions:
        return []
    base = f"From the close of {day(content.period.base)}; added to the index's return"
    return [Heading("Movers"), say(base, CAPTION), fact_tables.movers(content, width)]


def contributions(content: ReportContent, width: float, height: float) -> list[Flowable]:
    """Contributions to the period's return, as bars."""
    if not content.contributions:
        return []
    base = f"Percentage points, from the close of {day(content.period.base)}"
    chart = Chart(charts.contributions(content, width, height))
    return [Heading("Contributions to return"), say(base, CAPTION), chart]


def sectors(content: ReportContent, width: float) -> list[Flowable]:
    """Weights by sector."""
    if not content.sectors:
        return []
    caption = f"At the close of {day(content.period.last)}"
    return [Heading("Sectors"), say(caption, CAPTION), fact_tables.sectors(content, width)]


def months_and_benchmark(content: ReportContent, width: float) -> list[Flowable]:
    """Best and worst months, capture and correlation."""
    if content.month_statistics is None:
        return []
    title = "Months and benchmark" if content.relation else "Months"
    caption = f"Since {day(content.inception)}. {back_test.footnote(content)}".rstrip()
    table = fact_tables.months_and_benchmark(content, width)
    return [Heading(title), say(caption, CAPTION), table]


def distribution(content: ReportContent, width: float) -> list[Flowable]:
    """How many months had which return."""
    if content.distribution is None:
        return []
    caption = "Complete months since the base date by their return, in steps of 2%"
    chart = Chart(charts.distribution(content, width, 48 * mm))
    return [Heading("Distribution of monthly returns"), say(caption, CAPTION), chart]


def drawdowns(content: ReportContent, width: float) -> list[Flowable]:
    """The depth below the highest close, and the deepest falls."""
    if not content.drawdowns:
        return []
    return [
        Heading("Drawdowns"),
        say(captions.drawdown(content), CAPTION),
        Chart(charts.drawdown(content, width, 50 * mm)),
        Spacer(0, _SMALL),
        Heading("Deepest drawdowns"),
        *_back_test(content),
        report_tables.drawdowns(content, width),
    ]


def rolling(content: ReportContent, width: float) -> list[Flowable]:
    """Volatility and Sharpe ratio over the rolling window."""
    window = content.series.rolling_sessions
    if content.series.rolling_volatility[-1] is None:
        return []
    return side_by_side(
        lambda column: [
            Heading("Rolling volatility"),
            say(f"Annual, over {window} sessions", CAPTION),
            Chart(charts.rolling_volatility(content, column, 48 * mm)),
        ],
        lambda column: [
            Heading("Rolling Sharpe ratio"),
            say(f"Over {window} sessions, with a risk-free rate of zero", CAPTION),
            Chart(charts.rolling_sharpe(content, column, 48 * mm)),
        ],
        width,
    )


def metrics(content: ReportContent, width: float) -> list[Flowable]:
    """Metrics over a year or more."""
    shown = report_tables.shown_metrics(content)
    if not shown or content.headline.annual_volatility is None:
        return []
    found: list[Flowable] = [Heading("Metrics"), *_back_test(content)]
    found += [say(gap.reason, CAPTION) for gap in content.missing if gap.part == _UNCOVERED]
    found.append(report_tables.metrics(content, width))
    if short := footnote(row.index for row in shown):
        found += [Spacer(0, 1 * mm), say(short, CAPTION)]
    return found


def _back_test(content: ReportContent) -> list[Flowable]:
    note = back_test.note(content)
    return [say(note, CAPTION)] if note else []


def months_height(content: ReportContent) -> float:
    """The height of the table, with the chart of years below it: the two stay on one page.

    Never more than a page has, which would be left empty.
    """
    years = 16 * mm + _high(content, _YEARS_HEIGHT) if len(content.monthly_returns) > 1 else 0.0
    return min(22 * mm + 5.1 * mm * len(content.monthly_returns) + years, _MOST_HEIGHT)


def months(content: ReportContent, width: float) -> list[Flowable]:
    """Returns by month and year; empty below two months."""
    if len(content.monthly_returns) == 1 and content.month_statistics is None:
        return []
    caption = (
        "Per cent. The stronger the shade, the larger the move; losses are grey and have a minus "
        "sign. * marks a month or a year that is cut short."
    )
    return [
        Heading("Monthly returns"),
        say(f"{caption} {back_test.note(content)}".rstrip(), CAPTION),
        report_tables.months(content, width),
        *_years(content, width),
        Gap(),
    ]


def _high(content: ReportContent, height: float) -> float:
    return _CHART_OF[content.imprint.paper] * height


def _years(content: ReportContent, width: float) -> list[Flowable]:
    if len(content.monthly_returns) < 2:
        return []
    caption = "Return of each year, as far as it is in the table above"
    chart = Chart(charts.years(content, width, _high(content, _YEARS_HEIGHT)))
    return [Gap(), KeepTogether([Heading("Calendar years"), say(caption, CAPTION), chart])]


def allocations(content: ReportContent, width: float) -> list[Flowable]:
    """Target weights by sector over the rebalances."""
    count = len(content.allocations.sessions)
    if count < 2:
        return []
    which = (
        "each rebalance"
        if count <= charts.REBALANCES
        else f"the last {charts.REBALANCES} rebalances"
    )
    return [
        Heading("Allocations"),
        say(f"Target weights by sector at {which}", CAPTION),
        Chart(charts.allocations(content, width, _high(content, 58 * mm))),
    ]


def holdings(content: ReportContent, width: float) -> list[Flowable]:
    """Every constituent held."""
    if not content.holdings:
        return []
    window = f", over {content.risk_sessions} sessions" if content.risk_sessions else ""
    caption = (
        f"At the close of {day(content.period.last)}. To return: over the period. To risk: share "
        f"of the variance of these holdings{window}."
    )
    short = [gap.reason for gap in content.missing if gap.part == "risk"]
    return [
        Heading("Holdings"),
        say(caption, CAPTION),
        report_tables.holdings(content, width),
        Spacer(0, 1 * mm),
        *(say(f"{NOTHING} {reason}", CAPTION) for reason in short),
        Gap(),
    ]


def last_rebalance(content: ReportContent, width: float, count: int = 10) -> list[Flowable]:
    """The changes of the newest rebalance."""
    change = content.rebalance
    if change is None:
        return []
    caption = (
        f"{day(change.session)}. One-way turnover {percent(change.turnover)}. "
        f"Entered: {_listed(change.entered)}. Left: {_listed(change.left)}."
    )
    table = fact_tables.changes(change.changes, width, count)
    return [Heading("Last rebalance"), say(caption, CAPTION), table]


def next_rebalance(content: ReportContent, width: float, count: int = 10) -> list[Flowable]:
    """The pro-forma of the next rebalance, and the sessions of those after it."""
    days = [day(session) for session in content.rebalance_calendar]
    if not days:
        return []
    change = content.next_rebalance
    calendar = say(f"Rebalance calendar: {', '.join(days)}.", CAPTION)
    if change is None:
        return [Heading("Next rebalance"), calendar]
    caption = (
        f"Pro-forma for {day(change.session)}, if every close stays as on "
        f"{day(change.decided_with)}. One-way turnover {percent(change.turnover)}. "
        f"Enter: {_listed(change.entered)}. Leave: {_listed(change.left)}."
    )
    table = fact_tables.changes(change.changes, width, count)
    shown = [table, Spacer(0, 1 * mm)] if change.changes else []
    return [Heading("Next rebalance"), say(caption, CAPTION), *shown, calendar]


def turnover(content: ReportContent, width: float) -> list[Flowable]:
    """Turnover by year."""
    if not content.yearly_turnover:
        return []
    chart = Chart(charts.turnover(content, width, _high(content, 40 * mm)))
    return [Heading("Turnover"), say("One-way, by calendar year", CAPTION), chart]


def _listed(symbols: Sequence[str]) -> str:
    named = ", ".join(symbols[:_LISTED]) or "none"
    more = len(symbols) - _LISTED
    return f"{named} and {more:,} more" if more > 0 else named


def notes(content: ReportContent, shown: int | None = None) -> list[Flowable]:
    """What is to be known of the data, all of it or the first lines."""
    gaps = [f"{words(gap.part)}: {gap.reason}" for gap in content.missing]
    lines = [*content.quality_notes, *gaps]
    more = len(lines) - shown if shown is not None else 0
    lines = lines or ["Nothing to report: no price was deferred, refused or filled."]
    said = [say(line, BODY) for line in lines[:shown]]
    said += [say(f"{more} more are in the other formats.", CAPTION)] if more > 0 else []
    return [Heading("Data quality"), *said, Gap()]


def method(content: ReportContent, width: float) -> list[Flowable]:
    """Method and sources, in two columns."""
    middle = len(content.method) // 2
    return [
        Heading("Method and sources"),
        Spacer(0, 1 * mm),
        *side_by_side(
            lambda _: _texts(content.method[:middle]),
            lambda _: _texts(content.method[middle:]),
            width,
        ),
    ]


def _texts(paragraphs: Sequence[Paragraph]) -> list[Flowable]:
    found: list[Flowable] = []
    for paragraph in paragraphs:
        found += [say(paragraph.title, SUBHEADING), say(paragraph.text, PRINT)]
    return found
