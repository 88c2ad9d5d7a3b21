"""Stores one batch of a refresh, in one transaction."""

from prefect import get_run_logger
from sqlalchemy import Connection

from autoindex.market_data import restatement
from autoindex.market_data.paging import BatchReply
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.prices.stored_prices import Counts
from autoindex.storage.runs import checkpoints
from autoindex.storage.universe.assets import Asset
from flows.attempts import time_limit
from flows.attempts.refresh_progress import RefreshProgress, Stored
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime


@retrying("upsert")
def upsert(run: Runtime, universe: list[Asset], reply: BatchReply, done: RefreshProgress) -> Stored:
    """Store one batch in one transaction; a restated history is stored once it is fetched whole.

    The same transaction stores the refresh's progress, for the next attempt if there is one.
    """
    known = {asset.symbol: asset for asset in universe}
    counts, sound, restated, to_refetch = Counts(), [], set[str](), []
    window = run.settings.correction_sessions
    # Up to the commit: the caller's record of it must not be interrupted.
    with run.engine.begin() as connection, time_limit.interruptible():
        for one in reply.fetched:
            asset = known[one.due.symbol]
            known_closes = stored_prices.closes_of(connection, asset.id, one.due.start)
            if not restatement.is_restated(one.bars, known_closes.sessions, known_closes.closes):
                sound.append(one.bars)
            elif one.due.whole:
                counts += stored_prices.replace(connection, one.bars, asset.id, window)
                restated.add(asset.symbol)
            else:
                to_refetch.append(one.due.refetch(asset.prices_kept_from))
        ids = {symbol: asset.id for symbol, asset in known.items()}
        counts += stored_prices.upsert(connection, sound, ids, window)
        stored = Stored(counts, frozenset(restated), tuple(to_refetch))
        _mark_fetched(connection, run, reply, stored, ids)
        checkpoints.store(connection, run.task_id, done.plus(reply, stored).dump())
    get_run_logger().info(
        "stored %d new bars, %d changed, %d unchanged",
        counts.inserted,
        counts.updated,
        counts.unchanged,
    )
    return stored


def _mark_fetched(
    connection: Connection, run: Runtime, reply: BatchReply, stored: Stored, ids: dict[str, int]
) -> None:
    to_refetch = {due.symbol for due in stored.to_refetch}
    fetched = [one.due for one in reply.fetched if one.due.symbol not in to_refetch]
    refused = {ids[one.symbol] for one in reply.refused}
    # A refused symbol counts as fetched, or it would be the first of every refresh.
    whole = {ids[due.symbol] for due in fetched if due.whole} | refused
    fetches.note(connection, {ids[due.symbol] for due in fetched} | refused, whole, run.now)
