"""`POST /batch`: several calls in one body, each answered under its own name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from sandbox.error_bodies import ApiError

PATH: Final = "/batch"
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One of the calls."""

    path: str
    parameters: Mapping[str, str]


def read(body: bytes) -> dict[str, Part]:
    """The calls of a body by name; raises 400 unless it is an object of objects with a `url`."""
    try:
        named = json.loads(body)
        return {name: _part(call["url"]) for name, call in named.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        message = 'Invalid request body: expected {"name": {"url": "/time_series?…"}, …}'
        raise ApiError(400, message) from error


def _part(url: str) -> Part:
    split = urlsplit(url)
    return Part(split.path, dict(parse_qsl(split.query)))


def answered(body: Mapping[str, Any]) -> Entry:
    """The entry of a call that was answered."""
    return {"response": body, "status": "success"}


def failed(error: ApiError) -> Entry:
    """The entry of a call that was refused, in a likely form: it is not documented."""
    return {"response": error.body(), "status": "error"}


def whole(answers: Mapping[str, Entry]) -> dict[str, Any]:
    """The whole response, whatever the outcomes of its parts."""
    return {"code": 200, "status": "success", "data": answers}
