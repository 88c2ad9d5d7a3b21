"""The state of the sandbox: its prices, clock, plan, faults and recorded calls."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.faults import Faults
from sandbox.meter import Meter, Plan
from sandbox.sample_prices import Bar, Listing, Split

# After the last close in the sample prices.
DEFAULT_CLOCK: Final = datetime(2022, 12, 28, 22, 0, tzinfo=UTC)
_CALLS_KEPT: Final = 10_000


def wall_clock() -> datetime:
    """The real time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """One answered call; never its key."""

    at: str
    path: str
    parameters: Mapping[str, str]
    symbols: list[str]
    credits: int
    status: int


@dataclass(slots=True)
class Sandbox:
    """One sandbox: everything that its switches change."""

    listings: Mapping[str, Listing]
    default_clock: datetime = DEFAULT_CLOCK
    default_plan: Plan = field(default_factory=Plan)
    wall_clock: Callable[[], datetime] = wall_clock
    clock: datetime = field(init=False)
    meter: Meter = field(init=False)
    faults: Faults = field(init=False)
    splits: Mapping[str, Split] = field(init=False)
    refused_keys: frozenset[str] = field(init=False)
    errors_as_200: bool = field(init=False)
    calls: deque[Call] = field(init=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset everything to its state at the start."""
        self.clock = self.default_clock
        self.meter = Meter(self.default_plan)
        self.faults = Faults()
        self.splits = {}
        self.refused_keys = frozenset()
        self.errors_as_200 = False
        self.calls = deque(maxlen=_CALLS_KEPT)

    def bars(self, listing: Listing, *, adjusted: bool = True) -> list[Bar]:
        """The bars of a listing at the sandbox's clock."""
        return listing.visible(self.clock, self.splits.get(listing.symbol), adjusted=adjusted)

    def summary(self) -> dict[str, Any]:
        """The state of every switch."""
        return {
            "clock": self.clock.isoformat(),
            "plan": self.meter.plan.model_dump(),
            "faults": [fault.model_dump(mode="json") for fault in self.faults.all],
            "splits": {
                symbol: asdict(split) | {"session": split.session.isoformat()}
                for symbol, split in self.splits.items()
            },
            "refused_keys": len(self.refused_keys),
            "errors_as_200": self.errors_as_200,
            "symbols": len(self.listings),
        }
