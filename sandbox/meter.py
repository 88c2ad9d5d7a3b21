"""Credits as the provider counts them: by key, by minute and by day."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from sandbox import error_bodies


class Plan(BaseModel):
    """What a key may spend; only the smallest of Twelve Data's plans has a limit for the day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_minute: int = Field(default=610, ge=1)
    per_day: int | None = Field(default=None, ge=1)

    @property
    def category(self) -> str:
        """Twelve Data's name of a plan of this kind."""
        return "pro" if self.per_day is None else "basic"


@dataclass(slots=True)
class _Used:
    minute: str = ""
    day: str = ""
    in_minute: int = 0
    in_day: int = 0


class Meter:
    """Counts the credits of each key in minutes and days of the wall clock, UTC.

    The wall clock, not the clock the prices stand at: the budget is about real requests.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._used: dict[str, _Used] = defaultdict(_Used)

    def charge(self, key: str, cost: int, now: datetime) -> None:
        """Count a call, refused or not: raises 429 where it goes over a limit."""
        used = self._at(key, now)
        used.in_minute += cost
        used.in_day += cost
        if self.plan.per_day is not None and used.in_day > self.plan.per_day:
            raise error_bodies.day_exhausted(used.in_day, self.plan.per_day)
        if used.in_minute > self.plan.per_minute:
            raise error_bodies.minute_exhausted(used.in_minute, self.plan.per_minute)

    def in_minute(self, key: str, now: datetime) -> int:
        """Credits of this minute so far."""
        return self._at(key, now).in_minute

    def in_day(self, key: str, now: datetime) -> int:
        """Credits of this day so far."""
        return self._at(key, now).in_day

    def headers(self, key: str, cost: int, now: datetime) -> dict[str, str]:
        """What every answer says of the minute."""
        used = self.in_minute(key, now)
        return {
            "Api-Credits-Used": str(used),
            "Api-Credits-Left": str(max(0, self.plan.per_minute - used)),
            "Api-Credits-Request": str(cost),
        }

    def _at(self, key: str, now: datetime) -> _Used:
        used = self._used[key]
        minute, day = f"{now:%Y-%m-%dT%H:%M}", f"{now:%Y-%m-%d}"
        if used.minute != minute:
            used.minute, used.in_minute = minute, 0
        if used.day != day:
            used.day, used.in_day = day, 0
        return used
