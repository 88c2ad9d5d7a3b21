"""Generated histories: whatever happens to prices and members, what is published stands."""

from bisect import bisect_left
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, text

from autoindex import sessions
from autoindex.errors import IndexImpossible
from autoindex.requests import ComputeIndexRequest, Frequency, Strategy
from autoindex.settings import Settings
from autoindex.storage.cache import from_settings
from autoindex.storage.index import corrections, index_history, level_versions
from autoindex.storage.index.index_history import Rows, Window
from autoindex.storage.prices import stored_prices
from autoindex.storage.retention import restore
from flows import compute_index as flow
from flows.attempts.runtime import Runtime
from tests.flows.histories import KNOWN, History
from tests.flows.plain_index import DAYS, DECISIONS, STOCKS, STRATEGIES, Book, Floats, walks

LEVELS = text(
    "select session, level, version, missing from index_levels where strategy = :strategy "
    "order by session"
)
UNITS = text("select session, asset_id, units from allocations where strategy = :strategy")
GAPS_OF_VERSIONS = text("""
    select l.strategy, l.session from index_levels l left join superseded_levels s
        using (strategy, frequency, session)
    group by l.strategy, l.session, l.version
    having count(s.version) <> l.version - 1 or max(s.version) <> l.version - 1
""")
EMPTY = text(
    "truncate assets, prices, fetches, memberships, share_counts, index_levels, "
    "superseded_levels, publications, corrections, allocations, superseded_allocations, "
    "metrics, superseded_metrics cascade"
)


class Checked(History):
    """A history whose computations are compared with the model's."""

    def __init__(self, run: Runtime, folder: Path) -> None:
        super().__init__(run, folder)
        self.answers: dict[Strategy, list[tuple[datetime, Any]]] = {one: [] for one in STRATEGIES}

    def compute(
        self, strategy: Strategy, age: int | None = None, *, changing: int | None = None
    ) -> None:
        start = None if age is None else max(0, self.today - age)
        request = ComputeIndexRequest(
            strategy=strategy, start_date=None if start is None else DAYS[start]
        )
        before, marks = self.levels(strategy)
        book = self.model.books[strategy]
        try:
            self.compute_as(request, changing)
        except IndexImpossible as error:
            self._impossible(strategy, error)
            return
        after, found = self.levels(strategy)
        if not after:
            return
        self._check_completeness(strategy, start, before, marks, found, max(after))
        begin = self.model.compute(strategy, start, max(after))
        book.marks = found
        np.testing.assert_allclose(
            [after[day][0] for day in sorted(after)],
            [book.levels[day] for day in sorted(book.levels)],
            rtol=1e-8,
        )
        assert after.keys() == book.levels.keys()
        for day, (level, version) in before.items():
            same = abs(after[day][0] / level - 1) <= 1e-10 and marks.get(day) == found.get(day)
            assert day >= begin or same
            assert after[day] == (level, version) if same else after[day][1] == version + 1
            assert same or day in marks or self._cause(strategy, day) != "new sessions"
        with self.run.engine.connect() as connection:
            left = corrections.load(connection, strategy, Frequency.MONTHLY)
            now = connection.execute(text("select clock_timestamp()")).scalar_one()
        pending = {bisect_left(DAYS, one.session) for one in left if one.pending}
        assert pending <= book.late
        self.answers[strategy].append((now, self.answer(strategy)))

    # What holds.

    def check(self) -> None:
        for strategy, answers in self.answers.items():
            for instant, answer in answers:
                assert self.answer(strategy, instant) == answer
            if answers:
                # Only a rename changes what is answered without a publication.
                assert _renamed(self.answer(strategy)) == _renamed(answers[-1][1])
            book, holdings = self.model.books[strategy], self.units(strategy)
            assert holdings.keys() == book.units.keys()
            for day, units in holdings.items():
                np.testing.assert_allclose(units, book.units[day], rtol=1e-7)
        with self.run.engine.connect() as connection:
            assert not connection.execute(GAPS_OF_VERSIONS).all()

    def finish(self) -> None:
        self.refresh(1, set(), set())
        for strategy in STRATEGIES:
            self.compute(strategy)
            if (
                self.cleaned
                or not self.model.books[strategy].levels
                or self._begins_later(strategy)
            ):
                continue
            self.compute(strategy, age=self.today)
            book = self.model.books[strategy]
            assert not book.marks
            plain = replace(self.model, books={strategy: Book()})
            plain.compute(strategy, None, self.today)
            levels = plain.books[strategy].levels
            stored, _ = self.levels(strategy)
            assert stored.keys() == levels.keys()
            for day, (level, _) in stored.items():
                assert level == pytest.approx(levels[day], rel=1e-8)
            with self.run.engine.connect() as connection:
                assert not corrections.load(connection, strategy, Frequency.MONTHLY)

    def levels(
        self, strategy: Strategy
    ) -> tuple[dict[int, tuple[float, int]], dict[int, set[int]]]:
        """Level and version by day; and the stocks that provisional days are missing."""
        with self.run.engine.connect() as connection:
            rows = connection.execute(LEVELS, {"strategy": strategy}).all()
        numbers = {symbol: stock for stock, symbol in enumerate(self.symbols)}
        return (
            {DAYS.index(row.session): (row.level, row.version) for row in rows},
            {
                DAYS.index(row.session): {numbers.get(one, -1) for one in row.missing}
                for row in rows
                if row.missing
            },
        )

    def units(self, strategy: Strategy) -> dict[int, Floats]:
        numbers = {id_: stock for stock, id_ in self.ids.items()}
        found: dict[int, Floats] = {}
        with self.run.engine.connect() as connection:
            for row in connection.execute(UNITS, {"strategy": strategy}):
                units = found.setdefault(DAYS.index(row.session), np.zeros(STOCKS))
                units[numbers[row.asset_id]] = row.units
        return found

    def answer(self, strategy: Strategy, instant: datetime | None = None) -> Any:
        window = Window(strategy, Frequency.MONTHLY, as_of=instant)
        with self.run.engine.connect() as connection:
            return [
                read(connection, window, limit=10_000, offset=0)
                for read in (index_history.levels, index_history.weights, index_history.metrics)
            ]

    def compute_as(self, request: ComputeIndexRequest, changing: int | None = None) -> None:
        close = sessions.closed_at(DAYS[self.today])
        run = replace(self.run, now=close + timedelta(hours=3, minutes=30))
        with disable_run_logger():
            loaded = flow.load_prices.fn(run, request)
            computed = flow.compute.fn(loaded, request)
            if changing is not None and not np.isnan(self.model.closes[self.today, changing]):
                self.correct(changing, 0, 1.05)
                assert flow.store.fn(run, request, loaded, computed) is None
                loaded = flow.load_prices.fn(run, request)
                computed = flow.compute.fn(loaded, request)
            assert flow.store.fn(run, request, loaded, computed) is not None

    def _impossible(self, strategy: Strategy, error: IndexImpossible) -> None:
        """It fails only where nothing is published yet, or a cleanup has taken what it needs."""
        if self.model.books[strategy].levels:
            assert self.cleaned or self._begins_later(strategy), error
            return
        everyone = [stock for stock, spans in enumerate(self.model.members) if spans]
        days = range(self.model.kept, self.today + 1)
        waits = any(not self.model.settled(one, day) for one in everyone for day in days)
        assert waits or all(self.model.weights(strategy, day) is None for day in days), error

    def _cause(self, strategy: Strategy, day: int) -> str:
        which = strategy, Frequency.MONTHLY, DAYS[day]
        with self.run.engine.connect() as connection:
            return level_versions.history(connection, *which)[-1].cause

    def _begins_later(self, strategy: Strategy) -> bool:
        begun = min(self.model.books[strategy].levels)
        return all(self.model.weights(strategy, day) is None for day in range(begun + 1))

    def _check_completeness(
        self, strategy: Strategy, start: int | None, before: Any, marks: Any, found: Any, last: int
    ) -> None:
        model = self.model
        book = model.books[strategy]
        if not before:
            return
        assert last >= self.today - 1
        again = [*book.due, *marks] if start is None else [start]
        base = min([max(before), *(day - 1 for day in again)])
        held = {int(one) for one in np.flatnonzero(book.held(base + 1))}
        for day in range(max(before) + 1 if not marks else min(marks), self.today + 1):
            if day <= base or (day in before and day not in marks):
                continue
            decided = [one for one in DECISIONS if base < one <= day]
            able = held | {a for a in range(STOCKS) for one in decided if model.is_member(a, one)}
            needed = able | model.benchmark()
            lacking = {stock for stock in needed if not model.settled(stock, day)}
            if day > last:
                assert lacking
            elif day == self.today:
                assert not found.get(day)
            assert found.get(day, set()) <= lacking, (day, found, lacking, held)
            if not decided and day <= last:
                assert found.get(day, set()) == lacking


def _renamed(answer: list[Rows]) -> list[Any]:
    """An answer without symbols and their order."""
    levels, weights, metrics = answer
    return [levels, sorted((row[0], row[2]) for row in weights.rows), metrics]


stock = st.integers(0, STOCKS - 1)
some = st.sets(stock, max_size=2)
ages = st.none() | st.integers(0, 15)
untils = st.none() | st.integers(-10, 20)
step = st.one_of(
    st.tuples(st.just("refresh"), st.integers(0, 3), some, some),
    st.tuples(st.just("refresh"), st.integers(1, 12), st.just(set()), st.just(set())),
    st.tuples(st.just("compute"), st.sampled_from(STRATEGIES)),
    st.tuples(st.just("compute"), st.sampled_from(STRATEGIES)),
    st.tuples(st.just("compute"), st.sampled_from(STRATEGIES), st.integers(0, 30)),
    st.tuples(st.just("race"), st.sampled_from(STRATEGIES), stock),
    st.tuples(st.just("correct"), stock, st.integers(0, 14), st.sampled_from([1.05, 0.95])),
    st.tuples(st.just("late"), stock),
    st.tuples(st.just("split"), stock, st.sampled_from([4.0, 0.1, 1.5])),
    st.tuples(st.just("add"), stock, st.booleans()),
    st.tuples(st.just("benchmark"), stock),
    st.tuples(st.just("shares"), stock, st.integers(0, 12), st.booleans()),
    st.tuples(st.just("dated"), stock, ages, untils, st.booleans()),
    st.tuples(st.just("deactivate"), stock),
    st.tuples(st.just("activate"), stock),
    st.tuples(st.just("rename"), stock),
    st.tuples(st.just("cleanup"), st.integers(0, 30)),
    st.tuples(st.just("restore"), st.integers(0, KNOWN)),
)


def history_of(engine: Engine, settings: Settings, archive: Path) -> Checked:
    """A history that begins with three stocks and nothing published."""
    with engine.begin() as connection:
        connection.execute(EMPTY)
    now = sessions.closed_at(DAYS[KNOWN])
    return Checked(Runtime(settings, engine, from_settings(settings), now, uuid4()), archive)


@examples(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(step, min_size=6, max_size=12))
def test_what_is_published_stands(
    steps: list[tuple[Any, ...]],
    engine: Engine,
    settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    play(history_of(engine, settings, tmp_path_factory.mktemp("archive")), steps)


def test_a_correction_out_of_reach_waits_and_enters_no_later_level(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """A cleanup has removed the closes before it, so no computation can apply it."""
    history = history_of(engine, settings, tmp_path)
    index = Strategy.EQUAL_WEIGHT
    play(history, [("compute", index), ("cleanup", 0), ("correct", 0, 0, 1.25), ("compute", index)])
    with engine.connect() as connection:
        (left,) = corrections.load(connection, index, Frequency.MONTHLY)
    assert (left.session, left.pending) == (DAYS[KNOWN], True)


def test_a_split_restates_holdings_once_where_older_closes_come_back(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """Archived closes are of before the split, and the next full refresh restates them, too."""
    history = history_of(engine, settings, tmp_path)
    play(history, [("refresh", 10, set(), set()), ("compute", Strategy.EQUAL_WEIGHT)])
    before, _ = history.levels(Strategy.EQUAL_WEIGHT)
    history.cleanup(20)
    history.split(0, 4.0)
    history.provider[:, 0] = walks()[:, 0] / 4
    with engine.begin() as connection:
        restore.restore(connection, history.archive, "prices", DAYS[0], DAYS[-1])
        stored_prices.replace(connection, history.bars(0), history.ids[0])

    again = ComputeIndexRequest(strategy=Strategy.EQUAL_WEIGHT, start_date=DAYS[15])
    history.compute_as(again)

    assert history.levels(Strategy.EQUAL_WEIGHT)[0] == before


def play(history: Checked, steps: list[tuple[Any, ...]]) -> None:
    for one in range(3):
        history.add(one, shares=one != 1)
    history.refresh(0, set(), set())
    for name, *values in steps:
        if name == "race":
            history.compute(values[0], changing=values[1])
        elif name in ("shares", "dated"):
            getattr(history, name)(*values[:-1], backdate=values[-1])
        elif name not in ("correct", "split", "late") or values[0] in history.ids:
            getattr(history, name)(*values)
        history.check()
    history.finish()
    history.check()
