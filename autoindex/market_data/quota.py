"""The provider's credits, as its headers and `/api_usage` tell them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

# More than any plan gives; what claims more is no count of credits.
MOST_CREDITS: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Credits:
    """What calls cost, and what the last of them said of the current minute.

    `used` and `left` are the minute's totals over everyone with the same key; None where the
    provider did not say.
    """

    spent: int
    used: int | None = None
    left: int | None = None

    def __add__(self, later: "Credits") -> "Credits":
        used = self.used if later.used is None else later.used
        left = self.left if later.left is None else later.left
        return Credits(self.spent + later.spent, used, left)


class Payer(Protocol):
    """Who pays for the calls: asked before each of them, told of its cost after it."""

    def pay(self, cost: int) -> None:
        """Set aside what the next call may cost; what it raises, the caller of the client gets."""

    def paid(self, cost: Credits) -> None:
        """Book what that call really cost. Not called where no answer came: it may have counted."""


class Unmetered:
    """Pays for everything."""

    def pay(self, cost: int) -> None:
        """Let the call pass."""

    def paid(self, cost: Credits) -> None:
        """Keep no book."""


class Usage(BaseModel):
    """The plan's limits and what is used of them; only some plans have a limit for the day."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    used_this_minute: int = Field(alias="current_usage", ge=0, le=MOST_CREDITS)
    per_minute: int = Field(alias="plan_limit", ge=1, le=MOST_CREDITS)
    used_today: int | None = Field(default=None, alias="daily_usage", ge=0, le=MOST_CREDITS)
    per_day: int | None = Field(default=None, alias="plan_daily_limit", ge=1, le=MOST_CREDITS)


def from_headers(headers: Mapping[str, str], expected: int) -> Credits:
    """The credits of one call that should cost `expected`."""
    spent = _number(headers, "api-credits-request")
    return Credits(
        spent=expected if spent is None else spent,
        used=_number(headers, "api-credits-used"),
        left=_number(headers, "api-credits-left"),
    )


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) if int(text) <= MOST_CREDITS else None
