"""Generated histories of a universe: no change of it touches a published level."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, create_engine, text

from autoindex.index.membership import Membership
from autoindex.index.shares import ShareCount
from autoindex.market_data.bars import Bars
from autoindex.requests import ComputeIndexRequest, Frequency, Strategy
from autoindex.settings import Settings
from autoindex.storage.cache import from_settings
from autoindex.storage.index import levels
from autoindex.storage.index.publications import Published
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.universe import assets, membership_changes
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from flows import compute_index as flow
from flows.attempts.runtime import Runtime
from tests.index.markets import random_closes
from tests.index.test_dated_inputs import reference

LENGTH = 60
CLOSES = random_closes(31, 5, LENGTH).round(4)
DAYS = [day.date() for day in CLOSES.index]
SYMBOLS = [str(symbol) for symbol in CLOSES]
TABLES = "assets, index_levels, allocations, metrics, prices, publications, corrections"
EMPTY = text(f"truncate {TABLES} cascade")

Step = Callable[["History"], None]


@dataclass
class History:
    """A universe and its index, and beside them what each session was published with."""

    run: Runtime
    newest: int = -1
    known: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    counts: dict[str, float] = field(default_factory=dict)
    """Shares in the basis of the first session, and what its closes are divided by since."""
    factors: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SYMBOLS, 1.0))
    members: list[Membership] = field(default_factory=list)
    shares: list[ShareCount] = field(default_factory=list)

    names: dict[str, str] = field(default_factory=dict)

    def name(self, symbol: str) -> str:
        """A stock's symbol now."""
        return symbol + self.names.get(symbol, "")

    def add(self, symbol: str, count: int) -> None:
        """Import a stock, or another count of it, in today's share basis."""
        is_new, today = symbol not in self.known, DAYS[max(self.newest, 0)]
        row = UniverseRow(
            symbol=self.name(symbol),
            exchange="NYSE",
            currency="USD",
            name=symbol,
            active=symbol in self.active or is_new,
            shares_outstanding=round(count * self.factors[symbol]),
            shares_outstanding_date=today,
        )
        with self.run.engine.begin() as connection:
            import_universe(connection, [row], today=today)
        self.counts[symbol] = round(count * self.factors[symbol]) / self.factors[symbol]
        self.active |= {symbol} if is_new else set()
        self.known.add(symbol)
        if is_new and self.newest >= 0:
            self.store([symbol], 0)

    def switch(self, symbol: str) -> None:
        """Deactivate a stock, unless it is the last one, or activate it again."""
        if symbol not in self.known or self.active == {symbol}:
            return
        with self.run.engine.begin() as connection:
            if symbol in self.active:
                membership_changes.deactivate(connection, [self.name(symbol)], "test")
            else:
                membership_changes.activate(connection, [self.name(symbol)], "test")
        self.active ^= {symbol}

    def rename(self, symbol: str) -> None:
        """Give a stock another symbol."""
        if symbol in self.known:
            old = self.name(symbol)
            self.names[symbol] = f".{len(self.names.get(symbol, '')) % 9}"
            if old != self.name(symbol):
                with self.run.engine.begin() as connection:
                    assets.rename(connection, old, self.name(symbol), "test")

    def split(self, symbol: str, factor: float) -> None:
        """The provider restates everything that is stored."""
        if symbol in self.known and self.newest >= 0:
            self.factors[symbol] *= factor
            with self.run.engine.begin() as connection:
                (asset,) = assets.named(connection, [self.name(symbol)])
                stored_prices.replace(connection, self.bars(symbol, 0), asset.id)

    def advance(self, sessions: int) -> None:
        """So many sessions pass, and are published."""
        last = min(self.newest + sessions, LENGTH - 1)
        begin, self.newest = self.newest + 1, last
        self.store(sorted(self.known), begin)
        for day in DAYS[begin : last + 1]:
            self.members += [Membership(symbol, day, day) for symbol in self.active]
            self.shares += [ShareCount(s, count, day) for s, count in self.counts.items()]

    def store(self, symbols: list[str], begin: int) -> None:
        if begin > self.newest:
            return
        with self.run.engine.begin() as connection:
            ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
            bars = [self.bars(symbol, begin) for symbol in symbols]
            stored_prices.upsert(connection, bars, ids)
            asked = [ids[self.name(symbol)] for symbol in symbols]
            fetches.note(connection, asked, asked, datetime(2020, 12, 31, tzinfo=UTC))

    def bars(self, symbol: str, begin: int) -> Bars:
        close = CLOSES[symbol].to_numpy()[begin : self.newest + 1] / self.factors[symbol]
        days = np.array(DAYS[begin : self.newest + 1], "datetime64[D]")
        return Bars(self.name(symbol), days, close, close, close, close, np.full(len(close), -1))

    def compute(self, strategy: Strategy, **request: Any) -> Published:
        asked = ComputeIndexRequest(strategy=strategy, frequency=Frequency.WEEKLY, **request)
        with disable_run_logger():
            loaded = flow.load_prices.fn(self.run, asked)
            done = flow.store.fn(self.run, asked, loaded, flow.compute.fn(loaded, asked))
        assert done is not None
        return done


symbols = st.sampled_from(SYMBOLS)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda n: lambda history: history.advance(n), st.integers(1, 12)),
    st.builds(lambda s, n: lambda history: history.add(s, n), symbols, st.integers(10**6, 10**7)),
    st.builds(lambda s: lambda history: history.switch(s), symbols),
    st.builds(lambda s: lambda history: history.rename(s), symbols),
    st.builds(
        lambda s, f: lambda history: history.split(s, f),
        symbols,
        st.sampled_from([4.0, 0.1, 1.5, 2.0]),
    ),
)


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    made = create_engine(module_database_url)
    yield made
    made.dispose()


@given(st.sampled_from([Strategy.MARKET_CAP, Strategy.EQUAL_WEIGHT]), st.lists(steps, max_size=6))
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_change_of_the_universe_touches_a_published_level(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, strategy: Strategy, made: list[Step]
) -> None:
    """And all levels are those of a plain reference that knows each session's members and shares.

    Everything is computed again after each step.
    """
    with engine.begin() as connection:
        connection.execute(EMPTY)
    configured = Settings(data_dir=tmp_path_factory.getbasetemp())
    now = datetime(2021, 1, 4, tzinfo=UTC)
    run = Runtime(configured, engine, from_settings(configured), now, uuid4())
    history = History(run)
    history.add("S00", 10**6)
    history.add("S03", 3 * 10**6)
    history.advance(10)
    history.compute(strategy)
    for step in [*made, lambda one: one.advance(8)]:
        step(history)
        history.compute(strategy)
        again = history.compute(strategy, start_date=date(2019, 11, 4))
        assert again == Published(added=0, changed=0)
    with engine.connect() as connection:
        found = levels.load(connection, strategy, Frequency.WEEKLY)
    by_shares = history.shares if strategy is Strategy.MARKET_CAP else None
    window: pd.DataFrame = CLOSES.iloc[: history.newest + 1]
    expected = reference(window, Frequency.WEEKLY, history.members, by_shares)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
