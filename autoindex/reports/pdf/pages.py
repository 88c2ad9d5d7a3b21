"""The pages in order: a story of ReportLab flowables."""

from collections.abc import Sequence
from typing import Final

from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, PageBreak, Spacer

from autoindex.reports import back_test, captions
from autoindex.reports.content import Paragraph, ReportContent
from autoindex.reports.pdf import charts, corrections, report_tables
from autoindex.reports.pdf.flowables import (
    BODY,
    CAPTION,
    GAP,
    LEAD,
    SUBHEADING,
    SUBTITLE,
    TITLE,
    Chart,
    Heading,
    half_of,
    say,
    side_by_side,
)
from autoindex.reports.wording import (
    FOOTNOTE,
    NOTHING,
    day,
    footnote,
    percent,
    subtitle,
    words,
)

_SMALL: Final = GAP / 2
_YEARS_HEIGHT: Final = 52 * mm
# Half a column has room for so many symbols above its table; the other formats have all of them.
_LISTED: Final = 30
_UNCOVERED: Final = "benchmark_history"


def story(content: ReportContent, width: float) -> list[Flowable]:
    """The whole report, for a column of `width` points."""
    return [
        *_front(content, width),
        PageBreak(),
        *_performance(content, width),
        PageBreak(),
        *_risk(content, width),
        CondPageBreak(_months_height(content)),
        *_months(content, width),
        PageBreak(),
        *_holdings(content, width),
        PageBreak(),
        *_rebalancing(content, width),
        *corrections.section(content, width),
        *_notes(content),
        *_method(content, width),
    ]


def _front(content: ReportContent, width: float) -> list[Flowable]:
    half = half_of(width)
    left = [Heading("Key facts"), report_tables.facts(content, half)]
    right: list[Flowable] = [Heading("Largest holdings")]
    right.append(
        report_tables.largest(content, half)
        if content.holdings
        else _not_enough(content, "holdings")
    )
    return [
        say(content.index_name, TITLE),
        say(subtitle(content), SUBTITLE),
        Spacer(0, _SMALL),
        report_tables.tiles(content, width),
        Spacer(0, _SMALL),
        say(content.summary, LEAD),
        Spacer(0, _SMALL),
        Heading("Growth since inception"),
        say(captions.growth(content), CAPTION),
        Chart(charts.growth(content, width, 47 * mm)),
        Spacer(0, _SMALL),
        Heading("Performance"),
        report_tables.comparisons(content, width),
        Spacer(0, 0.5 * mm),
        say(f"{FOOTNOTE} {back_test.note(content)}".rstrip(), CAPTION),
        Spacer(0, _SMALL),
        side_by_side(left, right, width),
    ]


def _performance(content: ReportContent, width: float) -> list[Flowable]:
    half = half_of(width)
    start = charts.period_start(content)
    # A period of a few sessions is drawn with those before it.
    longer = content.series.sessions[start] < content.period.base
    sessions = len(content.series.sessions) - 1 - start
    left = [
        Heading(f"Last {sessions} sessions" if longer else "The period"),
        say(captions.period(content), CAPTION),
        Chart(charts.period(content, half, 94 * mm)),
    ]
    right: list[Flowable] = [
        Heading("Contributions to return"),
        say(f"Percentage points, from the close of {day(content.period.base)}", CAPTION),
    ]
    if content.contributions:
        right.append(Chart(charts.contributions(content, half, 94 * mm)))
    else:
        right.append(_not_enough(content, "contributions"))
    return [
        side_by_side(left, right, width),
        Spacer(0, GAP),
        Heading("Recent years"),
        say(captions.recent(content), CAPTION),
        Chart(charts.recent(content, width, 126 * mm)),
    ]


def _not_enough(content: ReportContent, part: str) -> Flowable:
    reasons = [gap.reason for gap in content.missing if gap.part == part]
    return say(reasons[0] if reasons else "Not enough data.", BODY)


def _risk(content: ReportContent, width: float) -> list[Flowable]:
    return [
        Heading("Drawdowns"),
        say(captions.drawdown(content), CAPTION),
        Chart(charts.drawdown(content, width, 50 * mm)),
        Spacer(0, _SMALL),
        Heading("Deepest drawdowns"),
        *_back_test(content),
        report_tables.drawdowns(content, width) if content.drawdowns else say("None so far.", BODY),
        Spacer(0, GAP),
        *_rolling(content, width),
        *_metrics(content, width),
    ]


def _metrics(content: ReportContent, width: float) -> list[Flowable]:
    if not content.metrics:
        return []
    parts: list[Flowable] = [Heading("Metrics"), *_back_test(content)]
    parts += [say(gap.reason, CAPTION) for gap in content.missing if gap.part == _UNCOVERED]
    parts.append(report_tables.metrics(content, width))
    if short := footnote(row.index for row in report_tables.shown_metrics(content)):
        parts += [Spacer(0, 1 * mm), say(short, CAPTION)]
    return [Spacer(0, _SMALL), KeepTogether(parts)]


def _back_test(content: ReportContent) -> list[Flowable]:
    note = back_test.note(content)
    return [say(note, CAPTION)] if note else []


def _rolling(content: ReportContent, width: float) -> list[Flowable]:
    window = content.series.rolling_sessions
    if content.series.rolling_volatility[-1] is None:
        return [Heading("Rolling risk"), _not_enough(content, "rolling_risk")]
    half = half_of(width)
    left = [
        Heading("Rolling volatility"),
        say(f"Annual, over {window} sessions", CAPTION),
        Chart(charts.rolling_volatility(content, half, 48 * mm)),
    ]
    right = [
        Heading("Rolling Sharpe ratio"),
        say(f"Over {window} sessions, with a risk-free rate of zero", CAPTION),
        Chart(charts.rolling_sharpe(content, half, 48 * mm)),
    ]
    return [side_by_side(left, right, width)]


def _months_height(content: ReportContent) -> float:
    """The height of the table, with the chart of years below it: the two stay on one page."""
    years = 16 * mm + _YEARS_HEIGHT if len(content.monthly_returns) > 1 else 0.0
    return 22 * mm + 5.1 * mm * len(content.monthly_returns) + years


def _months(content: ReportContent, width: float) -> list[Flowable]:
    caption = (
        "Per cent. The stronger the shade, the larger the move; losses are grey and have a minus "
        "sign. * marks a month that is cut short."
    )
    return [
        Spacer(0, _SMALL),
        Heading("Monthly returns"),
        say(f"{caption} {back_test.note(content)}".rstrip(), CAPTION),
        report_tables.months(content, width),
        *_years(content, width),
    ]


def _years(content: ReportContent, width: float) -> list[Flowable]:
    if len(content.monthly_returns) < 2:
        return []
    caption = "Return of each year, as far as it is in the table above"
    chart = Chart(charts.years(content, width, _YEARS_HEIGHT))
    return [Spacer(0, GAP), KeepTogether([Heading("Calendar years"), say(caption, CAPTION), chart])]


def _holdings(content: ReportContent, width: float) -> list[Flowable]:
    parts: list[Flowable] = []
    if content.allocations.sessions:
        parts += [
            Heading("Allocations"),
            say(_allocation_caption(content), CAPTION),
            Chart(charts.allocations(content, width, 68 * mm)),
            Spacer(0, GAP),
        ]
    caption = (
        f"At the close of {day(content.period.last)}. To return: over the period. To risk: share "
        f"of the variance of these holdings{_risk_window(content)}."
    )
    parts += [Heading("Holdings"), say(caption, CAPTION)]
    if not content.holdings:
        return [*parts, _not_enough(content, "holdings")]
    parts += [report_tables.holdings(content, width), Spacer(0, 1 * mm)]
    short = [gap.reason for gap in content.missing if gap.part == "risk"]
    return [*parts, *(say(f"{NOTHING} {reason}", CAPTION) for reason in short)]


def _allocation_caption(content: ReportContent) -> str:
    count = len(content.allocations.sessions)
    which = (
        "each rebalance"
        if count <= charts.REBALANCES
        else f"the last {charts.REBALANCES} rebalances"
    )
    return f"Target weights by sector at {which}"


def _risk_window(content: ReportContent) -> str:
    return f", over {content.risk_sessions} sessions" if content.risk_sessions else ""


def _rebalancing(content: ReportContent, width: float) -> list[Flowable]:
    half = half_of(width)
    change = content.rebalance
    if change is None:
        left: list[Flowable] = [Heading("Last rebalance"), _not_enough(content, "rebalance")]
    else:
        caption = (
            f"{day(change.session)}. One-way turnover {percent(change.turnover)}. "
            f"Entered: {_listed(change.entered)}. Left: {_listed(change.left)}."
        )
        left = [
            Heading("Last rebalance"),
            say(caption, CAPTION),
            report_tables.changes(content, half),
        ]
    right: list[Flowable] = [Heading("Turnover"), say("One-way, by calendar year", CAPTION)]
    if content.yearly_turnover:
        right.append(Chart(charts.turnover(content, half, 58 * mm)))
    else:
        right.append(_not_enough(content, "rebalance"))
    return [side_by_side(left, right, width), Spacer(0, GAP)]


def _listed(symbols: Sequence[str]) -> str:
    named = ", ".join(symbols[:_LISTED]) or "none"
    more = len(symbols) - _LISTED
    return f"{named} and {more:,} more" if more > 0 else named


def _notes(content: ReportContent) -> list[Flowable]:
    gaps = [f"{words(gap.part)}: {gap.reason}" for gap in content.missing]
    lines = [*content.quality_notes, *gaps]
    lines = lines or ["Nothing to report: no price was deferred, refused or filled."]
    return [Heading("Data quality"), *(say(line, BODY) for line in lines), Spacer(0, _SMALL)]


def _method(content: ReportContent, width: float) -> list[Flowable]:
    middle = len(content.method) // 2
    left, right = _texts(content.method[:middle]), _texts(content.method[middle:])
    return [
        CondPageBreak(90 * mm),
        Heading("Method and sources"),
        Spacer(0, 1 * mm),
        side_by_side(left, right, width),
    ]


def _texts(paragraphs: Sequence[Paragraph]) -> list[Flowable]:
    parts: list[Flowable] = []
    for paragraph in paragraphs:
        parts += [say(paragraph.title, SUBHEADING), say(paragraph.text, BODY)]
    return parts
