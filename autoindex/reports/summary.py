"""The summary: a few sentences made from the report's figures."""

from autoindex.reports.content import ReportContent
from autoindex.reports.wording import day, in_a_sentence, moved, points
from autoindex.requests import ReportType


def sentences(content: ReportContent) -> str:
    """The period against the benchmark, the largest and smallest contribution, the year to date."""
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
    return " ".join(parts)


def _period(content: ReportContent) -> str:
    head = content.headline
    sentence = f"{content.index_name} {moved(head.period_return)} {_when(content)}"
    if head.benchmark_period_return is None:
        return f"{sentence}."
    return (
        f"{sentence}, while {content.benchmark_name} {moved(head.benchmark_period_return)}: "
        f"a difference of {points(head.period_difference)}."
    )


def _when(content: ReportContent) -> str:
    ending = "" if content.period.complete else f" (to {day(content.period.last)})"
    preposition = "on" if content.report_type is ReportType.DAILY else "in"
    return f"{preposition} {in_a_sentence(content.period.label)}{ending}"
