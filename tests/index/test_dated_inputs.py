"""Memberships and share counts have dates: what counts later changes nothing earlier."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoindex import sessions
from autoindex.index.compute import compute
from autoindex.index.membership import Membership
from autoindex.index.shares import DatedShares, ShareCount
from autoindex.requests import Frequency, Strategy
from tests.index.markets import closes_of, random_closes

LENGTH = 140
COUNT = 5
SYMBOLS = [f"S{n:02d}" for n in range(COUNT)]
DAYS = [day.date() for day in closes_of(LENGTH).index]
seeds = st.integers(0, 2**32 - 1)
frequencies = st.sampled_from(Frequency)


def random_members(random: Any) -> list[Membership]:
    """Up to two memberships a symbol, with time between them; some are open at one end or both."""
    made = []
    for symbol in SYMBOLS:
        a, b, c, d = (DAYS[at] for at in sorted(random.choice(LENGTH, 4, replace=False)))
        made += [
            [Membership(symbol)],
            [Membership(symbol, last=c)],
            [Membership(symbol, a, b), Membership(symbol, c)],
            [Membership(symbol, last=a), Membership(symbol, b, d)],
        ][random.integers(4)]
    return made


def random_shares(random: Any) -> list[ShareCount]:
    """One to three counts a symbol, and one symbol without any."""
    return [
        ShareCount(symbol, float(random.integers(1, 10**6)), DAYS[at])
        for symbol in SYMBOLS[1:]
        for at in random.choice(LENGTH, random.integers(1, 4), replace=False)
    ]


def reference(
    closes: pd.DataFrame,
    frequency: Frequency,
    members: list[Membership],
    shares: list[ShareCount] | None,
) -> list[float]:
    """Levels of `equal_weight`, or of `market_cap` with shares, session by session."""
    decisions = set(sessions.rebalances(closes.index, frequency))
    level, units, found = 0.0, dict[str, float](), list[float]()
    for session, row in closes.iterrows():
        day = session.date()  # type: ignore[attr-defined]
        if units:
            level = sum(units[s] * row[s] for s in units)
        worth = {m.symbol: 1.0 for m in members if m.first <= day <= m.last}
        if shares is not None:
            known = {s: counting(shares, s, day) for s in worth}
            worth = {s: count * row[s] for s, count in known.items() if count}
        if worth and (session in decisions or not units):
            level = level or 100.0
            weights = limited({s: w / sum(worth.values()) for s, w in worth.items()})
            units = {s: w * level / row[s] for s, w in weights.items()}
        if units:
            found.append(level)
    return found


def counting(shares: list[ShareCount], symbol: str, day: date) -> float | None:
    own = sorted((c for c in shares if c.symbol == symbol), key=lambda c: c.first)
    begun = [c for c in own if c.first <= day] or own[:1]
    return begun[-1].shares if begun else None


def limited(weights: dict[str, float]) -> dict[str, float]:
    """The cap of 40 %, or 1/n, then the floor of 1 %, until both hold."""
    while True:
        cap, held, over = max(0.4, 1 / len(weights)), dict(weights), set[str]()
        while max(held.values()) > cap * (1 + 1e-12):
            over |= {s for s in held if held[s] > cap}
            free = sum(weights[s] for s in weights if s not in over)
            room = 1 - cap * len(over)
            held = {s: cap if s in over else w * room / (free or 1) for s, w in weights.items()}
        small = min(held, key=lambda s: (held[s], s))
        if held[small] >= min(0.01, 1 / (2 * len(held))) * (1 - 1e-12):
            return held
        rest = {s: w for s, w in weights.items() if s != small}
        weights = {s: w / sum(rest.values()) for s, w in rest.items()}


@given(frequencies, seeds, st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_plain_reference_gives_the_same(frequency: Frequency, seed: int, by_shares: bool) -> None:
    random = np.random.default_rng(seed)
    closes, members = random_closes(seed, COUNT, LENGTH), random_members(random)
    shares = random_shares(random) if by_shares else None
    expected = reference(closes, frequency, members, shares)
    strategy = Strategy.MARKET_CAP if by_shares else Strategy.EQUAL_WEIGHT
    found = compute(
        closes, strategy=strategy, frequency=frequency, members=members, shares=shares or ()
    )
    np.testing.assert_allclose(found.levels, expected, rtol=1e-10)


@given(st.sampled_from(Strategy), frequencies, seeds, seeds, st.integers(0, LENGTH - 1))
@settings(max_examples=200, deadline=None)
def test_what_counts_later_changes_no_earlier_level(
    strategy: Strategy, frequency: Frequency, seed: int, other: int, day: int
) -> None:
    """Whatever the memberships and shares are after a day, all levels up to it are the same."""
    closes, known = random_closes(seed, COUNT, LENGTH), DAYS[day]
    found = []
    for later in (seed, other):
        now, then = np.random.default_rng(seed), np.random.default_rng(later)
        members = joined(random_members(now), random_members(then), known)
        firsts = [ShareCount(symbol, 1e6 / n) for n, symbol in enumerate(SYMBOLS, 1)]
        shares = [one for one in random_shares(then) if one.first > known]
        found.append(
            compute(
                closes,
                strategy=strategy,
                frequency=frequency,
                members=members,
                shares=[*firsts, *shares],
            )
        )
    for name in ("levels", "weights", "units"):
        one, two = (getattr(series, name)[: closes.index[day]] for series in found)
        np.testing.assert_array_equal(one, two)


def joined(now: list[Membership], then: list[Membership], known: date) -> list[Membership]:
    """The memberships `now` up to a day, and those of `then` after it."""
    at = DAYS.index(known)
    before = [Membership(m.symbol, m.first, min(m.last, known)) for m in now if m.first <= known]
    if at + 1 == LENGTH:
        return before
    after = DAYS[at + 1]
    return before + [
        Membership(m.symbol, max(m.first, after), m.last) for m in then if m.last > known
    ]


@pytest.mark.parametrize("strategy", Strategy)
def test_a_stock_that_joins_later_changes_no_earlier_level(strategy: Strategy) -> None:
    """Its closes are there from the beginning: it could have been weighted."""
    closes, joins = random_closes(21, 6, LENGTH), DAYS[100]
    shares = [ShareCount(str(symbol), 1e6) for symbol in closes]
    inputs = {"strategy": strategy, "frequency": Frequency.WEEKLY, "shares": shares}
    before = compute(closes.drop(columns="S03"), **inputs)  # type: ignore[arg-type]
    members = [Membership(str(s), joins if s == "S03" else date.min) for s in closes]
    after = compute(closes, members=members, **inputs)  # type: ignore[arg-type]
    known = slice(None, closes.index[99])
    np.testing.assert_allclose(after.levels[known], before.levels[known], rtol=1e-13)
    assert not after.weights["S03"][known].any()
    assert after.weights["S03"][closes.index[100] :].any()


def test_shares_by_hand() -> None:
    """B's first count also counts before it; C has none."""
    days = closes_of(4).index.to_numpy().astype("datetime64[D]")
    _, second, third, last = (day.item() for day in days)
    counts = [
        ShareCount("B", 7, third),
        ShareCount("A", 2, second),
        ShareCount("A", 1),
        ShareCount("other", 9),
        ShareCount("B", 8, last),
    ]
    found = DatedShares(["A", "B", "C"], counts)
    expected = [[1, 7, np.nan], [2, 7, np.nan], [2, 7, np.nan], [2, 8, np.nan]]
    np.testing.assert_array_equal(found.at(days), expected)
    np.testing.assert_array_equal(found.at(days[2:3]), expected[2:3])
    assert np.isnan(DatedShares(["A"], []).at(days)).all()
