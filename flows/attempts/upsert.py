"""Stores one batch of a refresh, in one transaction."""

import numpy as np
from prefect import get_run_logger
from sqlalchemy import Connection

from autoindex.market_data import restatement, split_jumps
from autoindex.market_data.bars import Bars
from autoindex.market_data.paging import BatchReply
from autoindex.market_data.restatement import Comparison
from autoindex.storage.prices import confirmed_histories, fetches, stored_prices
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
    ids = {asset.symbol: asset.id for asset in universe}
    # Up to the commit: the caller's record of it must not be interrupted.
    with run.engine.begin() as connection, time_limit.interruptible():
        stored = _store(connection, universe, reply, run.settings.correction_sessions)
        _mark_fetched(connection, run, reply, stored, ids)
        checkpoints.store(connection, run.task_id, done.plus(reply, stored).dump())
    get_run_logger().info(
        "stored %d new bars, %d changed, %d unchanged",
        stored.counts.inserted,
        stored.counts.updated,
        stored.counts.unchanged,
    )
    return stored


def _store(connection: Connection, universe: list[Asset], reply: BatchReply, window: int) -> Stored:
    known = {asset.symbol: asset for asset in universe}
    counts, sound, restated, to_refetch = Counts(), [], set[str](), []
    refused: dict[str, str] = {}
    for one in reply.fetched:
        asset = known[one.due.symbol]
        closes = stored_prices.closes_of(connection, asset.id, one.due.start)
        comparison = restatement.compare(one.bars, closes.sessions, closes.closes)
        if not one.due.whole and (comparison.is_restated or _jumps(one.bars, comparison)):
            to_refetch.append(one.due.refetch(asset.prices_kept_from))
        elif not comparison.is_restated or comparison.is_correction:
            sound.append(one.bars)
        elif (reason := comparison.refusal()) is not None and not (
            confirmed_histories.is_open(connection, asset.id)
        ):
            refused[asset.symbol] = reason
        else:
            counts += stored_prices.replace(connection, one.bars, asset.id, window)
            restated.add(asset.symbol)
    ids = {symbol: asset.id for symbol, asset in known.items()}
    counts += stored_prices.upsert(connection, sound, ids, window)
    return Stored(counts, frozenset(restated), tuple(to_refetch), refused)


def _jumps(bars: Bars, comparison: Comparison) -> bool:
    """Whether a new close jumps like a split, which the whole history may explain."""
    return bool(np.isin(split_jumps.sessions(bars), comparison.added).any())


def _mark_fetched(
    connection: Connection, run: Runtime, reply: BatchReply, stored: Stored, ids: dict[str, int]
) -> None:
    """Note what the provider has answered; an implausible answer leaves the symbol to be asked."""
    to_refetch = {due.symbol for due in stored.to_refetch}
    fetched = [one for one in reply.fetched if one.due.symbol not in to_refetch]
    unknown = {one.symbol for one in reply.refused}
    # A refused symbol counts as fetched, or it would be the first of every refresh.
    whole = {one.due.symbol for one in fetched if one.due.whole} | unknown
    implausible = {one.due.symbol for one in fetched if one.newest_dropped} | stored.refused.keys()
    answered = ({one.due.symbol for one in fetched} | unknown) - implausible
    confirmed_histories.use(connection, [ids[symbol] for symbol in answered])
    for symbols, asked_at in ((answered, run.now), (implausible, None)):
        of_whole = [ids[symbol] for symbol in symbols & whole]
        fetches.note(connection, [ids[symbol] for symbol in symbols], of_whole, asked_at)
