"""What operators are told about the published index: changed, provisional and pending levels."""

from collections.abc import Mapping, Sequence
from datetime import date

from autoindex.labels import listed
from autoindex.storage.index.corrections import Correction
from autoindex.storage.index.publications import Published
from flows.visibility import events


def emit(
    published: Published, cause: str, provisional: Sequence[str], pending: Sequence[Correction]
) -> None:
    """Emit an event for a change, and one each for what is provisional and what is pending."""
    if (most := published.largest) is not None:
        change = f"most on {most.session}, from {most.old:,.4f} to {most.new:,.4f}"
        reason = f"{published.changed} levels changed, {change}; {cause}"
        events.emit(events.LEVELS_CHANGED, events.INDEX, reason)
    if provisional:
        reason = f"published without all prices: {listed(provisional)}"
        events.emit(events.LEVELS_PROVISIONAL, events.INDEX, reason)
    else:
        events.emit(events.LEVELS_FINAL, events.INDEX, "every published level is final")
    if pending:
        named = listed([f"{one.symbol or '?'} from {one.session}" for one in pending])
        effect = max((one.effect or 0.0 for one in pending), default=0.0)
        reason = f"{named}; levels would change by up to {effect:.4%}"
        events.emit(events.CORRECTION_PENDING, events.INDEX, reason)
    else:
        events.emit(events.NO_CORRECTION_PENDING, events.INDEX, "no correction is pending")


def suspicious(closes: Mapping[str, date]) -> None:
    """Emit an event for each close that jumps like a split."""
    for symbol, session in sorted(closes.items()):
        reason = (
            f"{symbol} on {session}: a jump like that of a split. It counts after the next "
            "session's refresh, or once `autoindex prices confirm` says that it is right"
        )
        resource = events.close_resource(symbol, session.isoformat())
        events.emit(events.CLOSE_SUSPICIOUS, resource, reason)
