"""Content negotiation and conditional requests: Accept and If-None-Match (RFC 9110)."""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

from api.problems import Problem

_RANGE: Final = re.compile(r"\s*([\w!#$&^.+*-]+/[\w!#$&^.+*-]+)\s*(?:;(.*))?", re.ASCII)
_QUALITY: Final = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.ASCII | re.I)
_MOST_RANGES: Final = 20


def media_type(accept: str, offered: Sequence[str]) -> str:
    """The media type of `offered` that the client prefers, the first of equals.

    Raises a 406 where it accepts none; a missing or malformed header accepts any.
    """
    ranges = dict(_ranges(accept)) or {"*/*": 1.0}
    best = max(offered, key=lambda name: _quality(name, ranges))
    if _quality(best, ranges) > 0:
        return best
    detail = f"there is {' or '.join(offered)} here; name one in Accept"
    raise Problem(HTTPStatus.NOT_ACCEPTABLE, detail)


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        found = _RANGE.fullmatch(part)
        if found is not None:
            parameters = (found[2] or "").split(";")
            qualities = [match for one in parameters if (match := _QUALITY.fullmatch(one))]
            yield found[1].lower(), float(qualities[0][1]) if qualities else 1.0


def _quality(name: str, ranges: dict[str, float]) -> float:
    kind = name.partition("/")[0]
    return next((ranges[r] for r in (name, f"{kind}/*", "*/*") if r in ranges), 0.0)


def tags(if_none_match: str | None) -> frozenset[str]:
    """The tags that the client has."""
    named = (if_none_match or "").split(",")
    return frozenset(tag.strip().removeprefix("W/") for tag in named if tag.strip())


def has(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has the version of this tag."""
    return not tags(if_none_match).isdisjoint((tag, "*"))
