"""Keys of cached values: the only place that builds them."""

import json
import re
from collections.abc import Set
from datetime import UTC, date, datetime
from enum import Enum
from hashlib import sha256
from typing import Final
from uuid import UUID

_NAME: Final = re.compile("[a-z][a-z0-9_-]*")
_ROOT: Final = "autoindex"


def key(name: str, version: int, /, **params: object) -> str:
    """The key of a value that `name` and `params` describe, made from data of `version`.

    Equal parameters give the same key in whatever order they come, in every process. Parameters
    may be what JSON can hold, dates, instants (the same one in any zone), enums, UUIDs and sets;
    anything else is a TypeError.
    """
    canonical = json.dumps(params, sort_keys=True, default=_as_json, allow_nan=False)
    digest = sha256(canonical.encode()).hexdigest()[:32]
    return f"{prefix(name)}{version}:{digest}"


def prefix(name: str) -> str:
    """What all keys of `name` begin with; the version follows."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name for cached values: {name!r}")
    return f"{_ROOT}:{name}:v"


def version_of(written: str, name: str) -> int | None:
    """The version in a key of `name`; None where `written` is not one."""
    start = prefix(name)
    if not written.startswith(start):
        return None
    version, _, digest = written.removeprefix(start).partition(":")
    return int(version) if digest and version.isascii() and version.isdecimal() else None


def _as_json(value: object) -> object:
    """What JSON does not know, as something it does; the same for values that are equal."""
    match value:
        case Enum():
            return value.value
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
        case date() | UUID():
            return str(value)
        case Set():
            return sorted(value, key=repr)
    raise TypeError(f"cannot be part of a cache key: {value!r}")
