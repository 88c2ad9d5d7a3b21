"""What is asked for in a storm: tasks of every kind that changes or makes something."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

STRATEGIES: Final = ("equal_weight", "momentum", "market_cap", "inverse_volatility")
# Which nobody else computes.
FREQUENCY: Final = "quarterly"
SINCE: Final = "2015-01-02"
_SYMBOLS: Final = ("AAPL", "KO", "XOM", "JPM", "GE")
_FORMATS: Final = ("json", "excel", "pdf")


@dataclass
class Task:
    """One task; `task_id` is None until the facade has accepted it."""

    path: str
    body: Mapping[str, Any]
    key: str = field(default_factory=lambda: uuid4().hex)
    task_id: str | None = None


def tasks(number: int) -> Iterator[Task]:
    """So many, half of them reports by mail."""
    for one in range(number):
        round_, kind = divmod(one, 4)
        match kind:
            case 0:
                named = [_SYMBOLS[round_ % 5], _SYMBOLS[(round_ + 2) % 5]]
                yield Task("refresh", {"mode": "full", "force": True, "symbols": named})
            case 2:
                yield _computation(STRATEGIES[round_ % 4])
            case _:
                made = {"report_type": "monthly", "format": _FORMATS[one // 2 % 3]}
                yield Task("generate-report", made | {"email": f"reader-{one}@example.com"})


def computations(asked: Iterable[Task]) -> list[Task]:
    """One of each index that they compute."""
    bodies = [task.body for task in asked if task.path == "compute-index"]
    return [_computation(strategy) for strategy in sorted({body["strategy"] for body in bodies})]


def _computation(strategy: str) -> Task:
    index = {"strategy": strategy, "frequency": FREQUENCY}
    return Task("compute-index", index | {"start_date": SINCE})
