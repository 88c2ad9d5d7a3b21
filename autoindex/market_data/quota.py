"""The provider's credits, as its headers and `/api_usage` tell them."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


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


class Usage(BaseModel):
    """The plan's limits and what is used of them; only some plans have a limit for the day."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    used_this_minute: int = Field(alias="current_usage", ge=0)
    per_minute: int = Field(alias="plan_limit", ge=1)
    used_today: int | None = Field(default=None, alias="daily_usage", ge=0)
    per_day: int | None = Field(default=None, alias="plan_daily_limit", ge=1)


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
    return int(text) if text.isascii() and text.isdigit() else None
