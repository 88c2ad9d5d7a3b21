"""How the holdings are spread over sectors, and over few or many constituents."""

from collections.abc import Iterable
from typing import Final

from autoindex.reports.content import Concentration, Holding, SectorWeight

_TEN: Final = 10


def concentration(holdings: tuple[Holding, ...]) -> Concentration | None:
    """The weight of the ten largest, and the effective number; None without holdings.

    The effective number is 1 / Σw², the inverse of the Herfindahl-Hirschman index (Hirschman, 1964,
    "The Paternity of an Index"): as many constituents of equal weight are as concentrated.
    """
    if not holdings:
        return None
    weights = sorted((row.weight for row in holdings), reverse=True)
    return Concentration(
        constituents=len(weights),
        ten_largest=sum(weights[:_TEN]),
        effective_number=1.0 / sum(weight**2 for weight in weights),
    )


def sectors(holdings: Iterable[Holding]) -> tuple[SectorWeight, ...]:
    """Weights by sector at the last session, largest first."""
    grouped: dict[str, list[Holding]] = {}
    for row in holdings:
        grouped.setdefault(row.sector, []).append(row)
    rows = [
        SectorWeight(
            sector=name,
            weight=sum(row.weight for row in own),
            target_weight=sum(row.target_weight for row in own),
            constituents=len(own),
        )
        for name, own in grouped.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.weight, row.sector)))
