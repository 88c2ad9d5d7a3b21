"""The stored measures of the index, beside those of the benchmark over the same windows."""

from collections.abc import Mapping

from autoindex.reports.content import Metric, Number
from autoindex.reports.figures.history import number

Measures = Mapping[str, Mapping[str, float | None]]


def beside_benchmark(ours: Measures, theirs: Measures) -> tuple[Metric, ...]:
    """Every measure of the index; the benchmark's is None where it has none."""
    return tuple(
        Metric(
            window=window,
            metric=metric,
            index=_finite(value),
            benchmark=_finite(theirs.get(window, {}).get(metric)),
        )
        for window, values in ours.items()
        for metric, value in values.items()
    )


def _finite(value: float | None) -> Number:
    return None if value is None else number(value)
