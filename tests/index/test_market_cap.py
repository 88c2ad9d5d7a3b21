"""Market capitalisation."""

from autoindex.index import market_cap
from tests.index.markets import decide


def test_shares_times_close() -> None:
    found = market_cap.weights(decide([[1, 1, 1], [10, 20, 5]], [100, 100, 400]))
    assert found[0].tolist() == [0.2, 0.4, 0.4]


def test_unknown_shares_get_no_weight() -> None:
    found = market_cap.weights(decide([[10, 20, 5]], [100, float("nan"), 200]))
    assert found[0].tolist() == [0.5, 0, 0.5]
