"""What a refresh stores of a batch, in one transaction."""

from prefect import get_run_logger
from sqlalchemy import Connection

from autoindex.market_data import overlap
from autoindex.market_data.paging import BatchReply
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.prices.stored_prices import Counts
from autoindex.storage.runs import checkpoints
from autoindex.storage.universe.assets import Asset
from flows.attempts import time_limit
from flows.attempts.refresh_tally import Stored, Tally
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime


@retrying("upsert")
def upsert(run: Runtime, universe: list[Asset], reply: BatchReply, tally: Tally) -> Stored:
    """Store one batch in one transaction; restated histories wait until they are fetched whole.

    The same transaction notes what is done by then, for an attempt that may have to go on.
    """
    known = {asset.symbol: asset for asset in universe}
    counts, sound, restated, unjoined = Counts(), [], set[str](), []
    # Up to the commit, which must not be cut off from what is told of it.
    with run.engine.begin() as connection, time_limit.interruptible():
        for one in reply.fetched:
            asset = known[one.due.symbol]
            known_closes = stored_prices.closes_of(connection, asset.id, one.due.start)
            if not overlap.is_restated(one.bars, known_closes.sessions, known_closes.closes):
                sound.append(one.bars)
            elif one.due.whole:
                counts += stored_prices.replace(connection, one.bars, asset.id)
                restated.add(asset.symbol)
            else:
                unjoined.append(one.due.refetch(asset.prices_kept_from))
        ids = {symbol: asset.id for symbol, asset in known.items()}
        counts += stored_prices.upsert(connection, sound, ids)
        stored = Stored(counts, frozenset(restated), tuple(unjoined))
        _note_answers(connection, run, reply, stored, ids)
        checkpoints.store(connection, run.task_id, tally.plus(reply, stored).dump())
    get_run_logger().info(
        "stored %d new bars, %d changed, %d unchanged",
        counts.inserted,
        counts.updated,
        counts.unchanged,
    )
    return stored


def _note_answers(
    connection: Connection, run: Runtime, reply: BatchReply, stored: Stored, ids: dict[str, int]
) -> None:
    unjoined = {due.symbol for due in stored.unjoined}
    fetched = [one.due for one in reply.fetched if one.due.symbol not in unjoined]
    refused = {ids[one.symbol] for one in reply.refused}
    # Who is refused has had its turn, and must not be the first of all for ever.
    whole = {ids[due.symbol] for due in fetched if due.whole} | refused
    fetches.note(connection, {ids[due.symbol] for due in fetched} | refused, whole, run.now)
