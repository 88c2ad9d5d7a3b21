"""One row of a universe's file: which values are valid."""

import re
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from autoindex.labels import Name, Sector, printable
from autoindex.requests import IsoDate, PastDate, Symbol

Role = Literal["constituent", "benchmark"]

# More than any company has; a double holds it exactly.
_MOST_SHARES: Final = 10**14
_EARLIEST_SHARES: Final = date(1900, 1, 1)
# As far as the calendar of sessions reaches.
_MEMBERS_WITHIN: Final = (date(1970, 1, 1), date(2100, 12, 31))
_WHOLE: Final = re.compile(r"(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.0+)?")


def _whole(written: object) -> object:
    """A whole number, with or without commas between thousands."""
    if not isinstance(written, str):
        return written
    if not _WHOLE.fullmatch(written) or len(written) > 40:
        raise ValueError("must be a whole number above 0, as in 15800000000 or 15,800,000,000")
    return int(written.partition(".")[0].replace(",", ""))


def _in_reach(day: date) -> date:
    earliest, latest = _MEMBERS_WITHIN
    if not earliest <= day <= latest:
        raise ValueError(f"lies outside {earliest} to {latest}")
    return day


def _not_before_1900(day: date) -> date:
    if day < _EARLIEST_SHARES:
        raise ValueError("lies too far back; write it as in 2022-12-28")
    return day


def _lower(written: object) -> object:
    return written.lower() if isinstance(written, str) else written


Exchange = Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(printable)]
Shares = Annotated[int, BeforeValidator(_whole), Field(gt=0, le=_MOST_SHARES)]
SharesDate = Annotated[PastDate, AfterValidator(_not_before_1900)]
MemberDate = Annotated[IsoDate, AfterValidator(_in_reach)]


class UniverseRow(BaseModel):
    """One line of a universe's CSV file; a value that is left out says nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    symbol: Symbol
    exchange: Exchange
    # A minor unit may end in a small letter: GBp, ZAc.
    currency: str = Field(pattern="^[A-Z]{2}[A-Za-z]$")
    name: Name
    sector: Sector | None = None
    shares_outstanding: Shares | None = None
    shares_outstanding_date: SharesDate | None = None
    role: Annotated[Role, BeforeValidator(_lower)] = "constituent"
    active: bool = True
    member_from: MemberDate | None = None
    member_to: MemberDate | None = None
