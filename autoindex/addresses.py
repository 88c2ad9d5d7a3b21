"""Checks of the addresses in settings: hosts, URLs, databases. Each error says what is expected.

No message shows the value: an address may hold a password.
"""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LONGEST_HOST: Final = 253
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_REDIS: Final = ("redis", "rediss", "unix")
_ORIGIN: Final = re.compile(r"https?://[^/\s*?#]+")
# User, host and port may be missing, but not the database: it would be created under any name.
_POSTGRESQL: Final = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?:.*@)?(?:\[[^]]*\]|[^:/?@]*)(?::(?P<port>\d+))?/[^/?]+(?:\?.*)?"
)
# A `file` URL with two slashes would be a folder below the current one.
_ARCHIVE: Final = re.compile(r"(?:[a-z0-9+.-]+::)*(?!file://[^/])(?P<scheme>[a-z0-9+.-]+)://.+|/.+")


def host(name: str) -> None:
    """A host's name or address, without scheme, port or brackets."""
    if not _is_host(name):
        raise ValueError("must be a host's name or address alone, as in mail.example.com")


def web(url: str) -> None:
    """A URL of a web server."""
    if not _is_web(_split(url)):
        raise ValueError("must be a URL with scheme and host, as in https://host.example.com")


def key_set(url: str) -> None:
    """A URL whose answer nobody can change in transit: who can, could sign tokens."""
    parts = _split(url)
    if not _is_web(parts) or (parts.scheme == "http" and parts.hostname not in _LOOPBACK):
        raise ValueError(
            "must begin with https:// and name a host: whoever can change the answer in transit "
            "could sign tokens"
        )


def error_tracking(dsn: str) -> None:
    """A DSN: a URL with a key before the host and a project number at the end."""
    parts = _split(dsn)
    if not (_is_web(parts) and parts.username and parts.path.rpartition("/")[2].isdecimal()):
        raise ValueError("must be a DSN, as in https://key@sentry.example.com/42")


def redis(url: str) -> None:
    """Where Redis is: a host, or the path of its socket."""
    parts = _split(url)
    local = parts.scheme == "unix" and parts.path
    if parts.scheme not in _REDIS or not (local or _has_host(parts)):
        names = " or ".join(f"{scheme}://" for scheme in _REDIS)
        raise ValueError(f"must begin with {names}, as in redis://host:6379/0")


def postgresql(url: str) -> None:
    """A database of PostgreSQL."""
    found = _POSTGRESQL.fullmatch(url) if url.isprintable() else None
    if found is None or not 0 < int(found["port"] or 5432) < 65536:
        raise ValueError("must be as postgresql://user:password@host:5432/autoindex")


def archive(url: str) -> None:
    """A place that fsspec knows, or the path of a folder."""
    from fsspec import available_protocols  # noqa: PLC0415 - most installs do not set one

    found = _ARCHIVE.fullmatch(url) if url.isprintable() else None
    if found is None or (found["scheme"] and found["scheme"] not in available_protocols()):
        raise ValueError("must be a URL that fsspec knows, as in file:///srv/archive or s3://name")


def origins(written: str) -> None:
    """Origins of pages, with spaces between."""
    if not all(_ORIGIN.fullmatch(one) and _is_web(_split(one)) for one in written.split()):
        raise ValueError("must be origins, as in https://app.example.com, without a path")


def _is_web(parts: SplitResult) -> bool:
    return parts.scheme in ("http", "https") and _has_host(parts)


def _has_host(parts: SplitResult) -> bool:
    try:
        return _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:  # a port that is not a number, or too large
        return False


def _split(url: str) -> SplitResult:
    # `urlsplit` would drop tabs and line ends.
    odd = not url.isprintable() or " " in url or "\\" in url
    try:
        return urlsplit("" if odd else url)
    except ValueError:  # brackets around something that is not an address
        return urlsplit("")


def _is_host(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return _is_name(name)
    return True


def _is_name(name: str) -> bool:
    try:
        labels = name.encode("idna").decode().removesuffix(".").split(".")
    except UnicodeError:
        return False
    # A name that ends in a number would be read as an IPv4 address.
    numeric = labels[-1].isdecimal()
    return len(name) <= _LONGEST_HOST and not numeric and all(map(_LABEL.fullmatch, labels))
