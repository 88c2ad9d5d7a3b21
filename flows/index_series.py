"""New levels and allocations of an index, computed from closes that are read block by block."""

from dataclasses import dataclass
from datetime import date

import pandas as pd

from autoindex.index.compute import Computation
from autoindex.requests import ComputeIndexRequest
from autoindex.storage.index import levels
from autoindex.storage.index.allocations import Allocations, Held
from autoindex.storage.index.computation_input import ComputationInput


@dataclass(frozen=True, slots=True)
class Series:
    """New levels, and what the rebalances among their sessions hold.

    `decided` are the weights of the last rebalance, which is their name; None where there is none.
    `current` are those of the holdings at the last close.
    """

    levels: pd.Series
    held: list[Held]
    decided: pd.Series | None
    current: pd.Series
    notes: tuple[str, ...]

    @property
    def rebalances(self) -> int:
        """How many there are."""
        return sum(len(part.sessions) for part in self.held)


def read(loaded: ComputationInput, request: ComputeIndexRequest) -> Series | None:
    """The new levels and allocations, block by block; None where the data have changed."""
    computation = Computation(
        loaded.closes.newest.columns,
        strategy=request.strategy,
        frequency=request.frequency,
        shares=loaded.shares,
        base=loaded.base,
        members=loaded.memberships,
        start=request.start_date or loaded.begins or date.min,
    )
    parts, held, decided = [], [], None
    for closes in loaded.closes:
        if closes is None:
            return None
        part = computation.extend(closes)
        parts.append(part.levels)
        held.append(Held.of(Allocations(part.weights, part.units), loaded.ids))
        decided = part.weights.iloc[-1].copy() if len(part.weights) else decided
    notes = computation.finish()
    new = levels.kept(pd.concat(parts), loaded.published)
    return Series(new, held, decided, part.current_weights, notes)
