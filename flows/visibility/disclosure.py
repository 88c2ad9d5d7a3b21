"""Notes of a computed index on the data behind it."""

from collections.abc import Iterator, Sequence

from autoindex.index.strategies import BY_SHARES
from autoindex.requests import Strategy
from autoindex.storage.universe.assets import Asset


def of_shares(strategy: Strategy, constituents: Sequence[Asset]) -> Iterator[str]:
    """The date of the shares outstanding that weight all sessions, and which symbols have none."""
    if strategy not in BY_SHARES:
        return
    unknown = [asset.symbol for asset in constituents if asset.shares_outstanding is None]
    days = sorted(day for asset in constituents if (day := asset.shares_outstanding_date))
    if days:
        when = f"{days[0]}" if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        yield (
            f"every session, past ones too, is weighted by the shares outstanding of {when}, "
            "which were not known then"
        )
    if unknown:
        yield f"no shares outstanding, so no weight by market capitalisation: {', '.join(unknown)}"
