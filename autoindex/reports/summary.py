"""The summary: a few sentences made from the report's figures."""

from autoindex.reports import back_test
from autoindex.reports.content import ReportContent
from autoindex.reports.wording import day, in_a_sentence, moved, points
from autoindex.requests import ReportType


def sentences(content: ReportContent) -> str:
    """The period against the benchmark, contributions, the year to date, and what was published."""
    parts = [_period(content)]
    if len(content.contributions) > 1:
        best, worst = content.contributions[0], content.contributions[-1]
        parts.append(
            f"{best.name} added most ({points(best.contribution)}), "
            f"{worst.name} least ({points(worst.contribution)})."
        )
    if content.headline.year_to_date_return is not None:
        year = moved(content.headline.year_to_date_return)
        parts.append(f"Since the start of the year the index {year}.")
    return " ".join([*parts, *_published(content)])


def _published(content: ReportContent) -> list[str]:
    past, period = content.published_past, content.period
    if past is None:
        return []
    parts = []
    if past.back_tested_until > period.base:
        parts.append(back_test.sentence(content))
    if any(one.session == period.last for one in past.provisional):
        parts.append("The newest level is provisional.")
    if changed := len({one.session for one in past.changes}):
        levels = "1 published level has" if changed == 1 else f"{changed:,} published levels have"
        parts.append(f"{levels} changed since {day(period.base)}.")
    if waiting := len(past.pending):
        what = "1 correction is" if waiting == 1 else f"{waiting:,} corrections are"
        parts.append(f"{what} pending.")
    return parts


def _period(content: ReportContent) -> str:
    head = content.headline
    sentence = f"{content.index_name} {moved(head.period_return)} {_when(content)}"
    if head.benchmark_period_return is None:
        return f"{sentence}."
    return (
        f"{sentence}, while the benchmark ({content.benchmark_name}) "
        f"{moved(head.benchmark_period_return)}: "
        f"a difference of {points(head.period_difference)}."
    )


def _when(content: ReportContent) -> str:
    ending = "" if content.period.complete else f" (to {day(content.period.last)})"
    preposition = "on" if content.report_type is ReportType.DAILY else "in"
    return f"{preposition} {in_a_sentence(content.period.label)}{ending}"
