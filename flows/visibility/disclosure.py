"""Notes of a computed index on the data behind it."""

from collections.abc import Iterator, Sequence
from datetime import date

from autoindex.index.strategies import BY_SHARES
from autoindex.requests import Strategy
from autoindex.storage.universe import share_counts
from autoindex.storage.universe.assets import Asset
from autoindex.storage.universe.share_counts import StoredCount


def of_shares(
    strategy: Strategy, begins: date, constituents: Sequence[Asset], counts: Sequence[StoredCount]
) -> Iterator[str]:
    """For which sessions a first share count was not known then, and which symbols have none."""
    if strategy not in BY_SHARES:
        return
    first = share_counts.first_days(counts)
    days = sorted(first[one.id] for one in constituents if begins < first.get(one.id, begins))
    if days:
        when = f"{days[0]}" if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        yield (
            "sessions before a stock's first share count are weighted by the shares outstanding "
            f"of {when}, which were not known then"
        )
    unknown = [asset.symbol for asset in constituents if asset.id not in first]
    if unknown:
        yield f"no shares outstanding, so no weight by market capitalisation: {', '.join(unknown)}"
