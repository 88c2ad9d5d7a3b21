"""Sectors and concentration, by hand."""

import pytest

from autoindex.reports.content import Holding
from autoindex.reports.figures.concentration import concentration, sectors


def holding(symbol: str, sector: str, weight: float) -> Holding:
    return Holding(
        symbol=symbol,
        name=symbol,
        sector=sector,
        weight=weight,
        target_weight=weight,
        units=None,
        close=1.0,
        annual_volatility=None,
        risk_contribution=None,
    )


def test_equal_weights_are_as_many_as_there_are() -> None:
    found = concentration(tuple(holding(f"S{at}", "A", 0.05) for at in range(20)))
    assert found is not None
    assert (found.constituents, found.ten_largest, found.effective_number) == (
        20,
        pytest.approx(0.5),
        pytest.approx(20.0),
    )


def test_unequal_weights_count_as_fewer() -> None:
    found = concentration((holding("A", "X", 0.5), holding("B", "X", 0.3), holding("C", "Y", 0.2)))
    assert found is not None
    assert found.effective_number == pytest.approx(1 / 0.38)
    assert found.ten_largest == pytest.approx(1.0)


def test_sectors_add_up_and_begin_with_the_heaviest() -> None:
    rows = sectors((holding("A", "X", 0.3), holding("B", "Y", 0.5), holding("C", "X", 0.2)))
    assert [(row.sector, row.weight, row.constituents) for row in rows] == [
        ("X", pytest.approx(0.5), 2),
        ("Y", pytest.approx(0.5), 1),
    ]
    assert concentration(()) is None
    assert sectors(()) == ()
