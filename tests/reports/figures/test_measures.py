"""The benchmark's measures stand beside those of the index."""

import math

from autoindex.reports.figures import measures


def test_the_benchmark_beside_the_index() -> None:
    ours = {"all": {"sharpe_ratio": 0.9, "beta": 0.95}, "1Y": {"sharpe_ratio": None}}
    theirs = {"all": {"sharpe_ratio": 0.5}, "1Y": {"sharpe_ratio": -0.1}}
    made = measures.beside_benchmark(ours, theirs)
    assert [(row.window, row.metric, row.index, row.benchmark) for row in made] == [
        ("all", "sharpe_ratio", 0.9, 0.5),
        ("all", "beta", 0.95, None),
        ("1Y", "sharpe_ratio", None, -0.1),
    ]


def test_without_a_benchmark() -> None:
    (row,) = measures.beside_benchmark({"all": {"calmar_ratio": 0.3}}, {})
    assert (row.index, row.benchmark) == (0.3, None)


def test_what_is_not_finite_is_nothing() -> None:
    (row,) = measures.beside_benchmark({"all": {"calmar_ratio": math.inf}}, {})
    assert row.index is None
