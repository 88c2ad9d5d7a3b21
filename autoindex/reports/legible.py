"""What the PDF's typeface can show: Latin, Greek and Cyrillic letters."""

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

from reportlab.pdfbase.ttfonts import TTFontFile

from autoindex.reports.content import Contribution, Holding, ReportContent, WeightChange

_REGULAR: Final = Path(__file__).parent / "fonts" / "SourceSansPro-Regular.ttf"


def shows(text: str) -> bool:
    """Whether the typeface has every character of `text`."""
    return all(ord(one) in _characters() for one in text)


@cache
def _characters() -> frozenset[int]:
    return frozenset(TTFontFile(str(_REGULAR)).charToGlyph)


def legible(content: ReportContent) -> ReportContent:
    """`content` with symbols for the names that the typeface lacks, and a note that says so."""
    stands_for = _replacements(content)
    if not stands_for:
        return content
    note = (
        f"Shown in other words, as this typeface lacks letters: {', '.join(stands_for.values())}."
    )
    replaced = _replace(content.model_dump(), stands_for)
    replaced["quality_notes"] = (*replaced["quality_notes"], note)
    return ReportContent.model_validate(replaced)


def _replacements(content: ReportContent) -> dict[str, str]:
    """What stands for each name, sector and benchmark that the typeface lacks; longest first."""
    rebalances = [one for one in (content.rebalance, content.next_rebalance) if one is not None]
    rows: Iterable[Holding | Contribution | WeightChange] = (
        *content.holdings,
        *content.contributions,
        *chain.from_iterable(one.changes for one in rebalances),
    )
    names = {row.name: row.symbol for row in rows}
    names |= {name: f"Sector {n}" for n, name in enumerate(content.allocations.sectors, start=1)}
    names[content.benchmark_name or ""] = "Benchmark"
    names[content.imprint.publisher or ""] = "The publisher"
    names[content.imprint.contact or ""] = "The publisher's contact"
    lacking = sorted((name for name in names if not shows(name)), key=len, reverse=True)
    return {name: names[name] for name in lacking}


def _replace(value: Any, stands_for: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, other in stands_for.items():
            value = value.replace(name, other)
        return value
    if isinstance(value, Mapping):
        return {key: _replace(one, stands_for) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_replace(one, stands_for) for one in value)
    return value
