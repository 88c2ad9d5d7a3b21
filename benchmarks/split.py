"""How long a split takes to restate, where many stored indexes hold the symbol.

    python -m benchmarks.split

Three daily and three monthly indexes of 500 symbols over 5,040 sessions: 7,920,000 allocations, of
which one symbol has 15,840. Its closes are quartered, as by a 4:1 split, so that each of its
holdings is multiplied. Timed from the bars to the end of the commit; the limit is two seconds.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Engine, text

from autoindex.market_data.bars import Bars
from autoindex.storage.prices import stored_prices
from benchmarks import database, table
from benchmarks.table import Ratio
from benchmarks.upsert import timed

SYMBOLS = 500
SESSIONS = 5_040
STRATEGIES = ("composite", "equal_weight", "market_cap")
REBALANCES = {"daily": 1, "monthly": 21}
ROUNDS = 3
LIMIT_SECONDS = 2.0

_LEVELS = text("insert into index_levels select :strategy, :frequency, session, 100 from prices")
_HELD = text("""
    insert into allocations
    select :strategy, :frequency, session, id, 0.002, 0.002 * id
    from (
        select session, row_number() over (order by session) from prices
    ) as numbered (session, number), assets
    where number % :every = 0 order by session, id
""")


def ratios() -> Iterator[Ratio]:
    """The best of a few splits, beside the limit; each splits what the one before has left."""
    with database.empty() as engine:
        ids = database.universe(engine, SYMBOLS)
        bars = database.walk("S0250", SESSIONS, seed=1)
        fill(engine, bars, ids, STRATEGIES)
        took = []
        for _ in range(ROUNDS):
            bars = split(bars)
            with timed() as seconds, engine.begin() as connection:
                stored_prices.replace(connection, bars, ids[bars.symbol])
            took += seconds
        check(engine, ids[bars.symbol])
    yield Ratio("split: restated", min(took), LIMIT_SECONDS, "limit", at_most=1)


def fill(engine: Engine, bars: Bars, ids: dict[str, int], strategies: Sequence[str]) -> None:
    """One symbol's prices, and the levels and allocations of every index."""
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars], ids)
        for strategy in strategies:
            for frequency, every in REBALANCES.items():
                which = {"strategy": strategy, "frequency": frequency}
                connection.execute(_LEVELS, which)
                connection.execute(_HELD, which | {"every": every})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
        connection.execute(text("checkpoint"))


def split(bars: Bars) -> Bars:
    """The same history, each price a quarter of what it was."""
    quartered = {name: getattr(bars, name) / 4 for name in ("open", "high", "low", "close")}
    return replace(bars, **quartered)


def check(engine: Engine, asset_id: int) -> None:
    """Every holding of the symbol, and no other, must have been multiplied."""
    wrong = text(
        "select count(*) from allocations where abs(units / (0.002 * asset_id * case"
        " when asset_id = :id then :factor else 1 end) - 1) > 1e-9"
    )
    with engine.connect() as connection:
        values = {"id": asset_id, "factor": 4**ROUNDS}
        if count := connection.execute(wrong, values).scalar_one():
            raise SystemExit(f"{count} holdings are wrong")


if __name__ == "__main__":
    sys.exit(table.main(ratios))
