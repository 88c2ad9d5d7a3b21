"""The pages of each type of report: a story of ReportLab flowables."""

from functools import partial
from typing import Final

from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, PageBreak, Spacer

from autoindex.reports import back_test
from autoindex.reports.content import ReportContent
from autoindex.reports.pdf import corrections, fact_tables, parts
from autoindex.reports.pdf.flowables import (
    CAPTION,
    GAP,
    LEAD,
    LONG_TITLE,
    SUBHEADING,
    SUBTITLE,
    TITLE,
    Gap,
    Heading,
    OnePage,
    say,
    side_by_side,
)
from autoindex.reports.theme import text_width
from autoindex.reports.wording import FOOTNOTE, NOTHING, day, figure, subtitle
from autoindex.requests import ReportType

_SMALL: Final = GAP / 2
_WINDOWS_OF_A_DAY: Final = (
    "period",
    "previous_period",
    "month_to_date",
    "year_to_date",
    "1_year",
    "inception",
)
_SHOWN: Final = 3
_SAMPLE: Final = "Sample data: the prices are the sandbox's, not a provider's."


def story(content: ReportContent, width: float, height: float) -> list[Flowable]:
    """The report, for pages of `width` by `height` points.

    A daily report is one page and a weekly one two. Monthly and quarterly ones are as long as what
    they have to show.
    """
    if content.report_type is ReportType.DAILY:
        return [OnePage(partial(_day, content), width, height, least=56 * mm, most=90 * mm)]
    front = OnePage(partial(_front, content), width, height, least=30 * mm, most=80 * mm)
    if content.report_type is ReportType.WEEKLY:
        second = partial(_week, content)
        last = OnePage(second, width, height, least=50 * mm, most=94 * mm)
        return [front, PageBreak(), last]
    return [front, PageBreak(), *_whole(content, width)]


def _day(content: ReportContent, width: float, chart: float) -> list[Flowable]:
    return [
        *_masthead(content, width),
        *side_by_side(
            lambda column: parts.period(content, column, chart),
            lambda column: parts.movers(content, column),
            width,
        ),
        Spacer(0, _SMALL),
        *_performance(content, width, _WINDOWS_OF_A_DAY),
        Spacer(0, _SMALL),
        *side_by_side(
            lambda column: parts.next_rebalance(content, column, 5),
            lambda _: parts.notes(content, _SHOWN),
            width,
        ),
        Spacer(0, _SMALL),
        *corrections.section(content, width, _SHOWN),
        say("Method, sources and caveats are in the monthly report.", CAPTION),
    ]


def _front(content: ReportContent, width: float, chart: float) -> list[Flowable]:
    return [
        *_masthead(content, width),
        *parts.growth(content, width, chart),
        Spacer(0, _SMALL),
        *_performance(content, width),
        Spacer(0, _SMALL),
        *side_by_side(
            lambda column: [Heading("Key facts"), fact_tables.facts(content, column)],
            lambda column: parts.largest(content, column),
            width,
        ),
    ]


def _masthead(content: ReportContent, width: float) -> list[Flowable]:
    fits = text_width(content.index_name, TITLE.fontSize) < 0.95 * width
    return [
        say(content.index_name, TITLE if fits else LONG_TITLE),
        say(subtitle(content), SUBTITLE),
        say(_origin(content), CAPTION),
        *([say(_SAMPLE, SUBHEADING)] if content.sample_data else []),
        Spacer(0, 1 * mm),
        fact_tables.tiles(content, width),
        Spacer(0, _SMALL),
        say(content.summary, LEAD),
        Spacer(0, _SMALL),
    ]


def _origin(content: ReportContent) -> str:
    """Base date and launch."""
    past = content.published_past
    said = [f"Base date {day(content.inception)}, at {figure(content.series.level[0])}"]
    said += [f"launched on {day(past.launched_at)}"] if past else []
    return f"{', '.join(said)}."


def _performance(
    content: ReportContent, width: float, keys: tuple[str, ...] = ()
) -> list[Flowable]:
    rows = fact_tables.windows(content, keys)
    table = fact_tables.comparisons(rows, width)
    head = content.headline
    short = FOOTNOTE if any(NOTHING in row for row in rows) else ""
    if None in (head.annual_return, head.annual_volatility):
        short = short or FOOTNOTE.removeprefix(f"{NOTHING} ")
    price = ""
    if content.sample_data and content.benchmark_name is not None:
        price = "The benchmark leaves dividends out; the constituents' prices include them."
    notes = " ".join(filter(None, (short, back_test.footnote(content), price)))
    return [Heading("Performance"), table, Spacer(0, 0.5 * mm), say(notes, CAPTION)]


def _week(content: ReportContent, width: float, chart: float) -> list[Flowable]:
    return [
        *side_by_side(
            lambda column: parts.period(content, column, chart),
            lambda column: parts.contributions(content, column, chart),
            width,
        ),
        Spacer(0, _SMALL),
        *side_by_side(
            lambda column: parts.last_rebalance(content, column, 6),
            lambda column: parts.next_rebalance(content, column, 6),
            width,
        ),
        Spacer(0, _SMALL),
        *side_by_side(
            lambda column: parts.sectors(content, column),
            lambda column: parts.months_and_benchmark(content, column),
            width,
        ),
        Spacer(0, _SMALL),
        *corrections.section(content, width, _SHOWN),
        *parts.notes(content, _SHOWN),
        say("Method, sources and caveats are in the monthly report.", CAPTION),
    ]


def _whole(content: ReportContent, width: float) -> list[Flowable]:
    """The parts after the first page, each kept together where a page holds it."""
    together = [
        [
            *side_by_side(
                lambda column: parts.period(content, column, 84 * mm),
                lambda column: parts.contributions(content, column, 84 * mm),
                width,
            ),
            Spacer(0, GAP),
            *side_by_side(
                lambda column: parts.sectors(content, column),
                lambda column: parts.months_and_benchmark(content, column),
                width,
            ),
        ],
        parts.distribution(content, width),
        parts.drawdowns(content, width),
        parts.rolling(content, width),
        parts.metrics(content, width),
    ]
    notes = parts.notes(content)
    return [
        *_apart(together),
        CondPageBreak(parts.months_height(content)),
        *parts.months(content, width),
        *_apart([parts.allocations(content, width)]),
        CondPageBreak(60 * mm),
        *parts.holdings(content, width),
        *_apart(
            [
                parts.turnover(content, width),
                side_by_side(
                    lambda column: parts.last_rebalance(content, column),
                    lambda column: parts.next_rebalance(content, column),
                    width,
                ),
            ]
        ),
        *corrections.section(content, width),
        KeepTogether(notes[:2]),
        *notes[2:],
        KeepTogether(parts.method(content, width)),
    ]


def _apart(groups: list[list[Flowable]]) -> list[Flowable]:
    return [part for group in groups if group for part in (KeepTogether(group), Gap())]
