"""The provider's credits, as its headers and `/api_usage` report them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

# More than any plan has; a larger number is not a count of credits.
MOST_CREDITS: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Credits:
    """What calls cost, and what the last response says of the current minute.

    `used` and `left` are the minute's totals over everyone with the same key; None where the
    provider does not say.
    """

    spent: int
    used: int | None = None
    left: int | None = None

    def __add__(self, later: "Credits") -> "Credits":
        used = self.used if later.used is None else later.used
        left = self.left if later.left is None else later.left
        return Credits(self.spent + later.spent, used, left)


class CallCredits(Protocol):
    """Credits for calls: reserved before each call, corrected after it."""

    def reserve_call(self, cost: int) -> None:
        """Reserve what the next call may cost; its errors pass through the client."""

    def correct_call(self, cost: Credits) -> None:
        """Book what that call cost. Not called without a response: the call may have counted."""


class UnlimitedCredits:
    """Covers every call."""

    def reserve_call(self, cost: int) -> None:
        """Do nothing."""

    def correct_call(self, cost: Credits) -> None:
        """Do nothing."""


class Usage(BaseModel):
    """The plan's limits and their use; only some plans have a daily limit."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    used_this_minute: int = Field(alias="current_usage", ge=0, le=MOST_CREDITS)
    per_minute: int = Field(alias="plan_limit", ge=1, le=MOST_CREDITS)
    used_today: int | None = Field(default=None, alias="daily_usage", ge=0, le=MOST_CREDITS)
    per_day: int | None = Field(default=None, alias="plan_daily_limit", ge=1, le=MOST_CREDITS)


def from_headers(headers: Mapping[str, str], expected: int) -> Credits:
    """The credits of one call, `expected` where the headers do not say."""
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
