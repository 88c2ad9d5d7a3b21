"""Refused requests, each the dearest of its kind: what they cost the facade's processor."""

import json
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import psutil

from api.routes.guarded_route import TEMPLATE_KEY
from api.server.middleware import LARGEST_BODY_BYTES, LARGEST_HEAD_BYTES
from benchmarks.table import Ratio

_TASKS = "/api/v1/background"
REQUESTS = 40
_ROOM = LARGEST_BODY_BYTES - 100
# Times as dear as a task that is started.
AT_MOST = 5


def bodies() -> Mapping[str, bytes]:
    """By what is wrong with them; as large as a body may be, but for the last."""
    return {
        "unknown keys": json.dumps({f"k{n}": 1 for n in range(_ROOM // 13)}).encode(),
        "objects": _filled('{"symbols":[', '{"":0},', "0]}"),
        "a list of types": _filled('{"types":[', "1,", "1]}"),
        "a list of symbols": _filled('{"symbols":[', "1,", "1]}"),
        "a list for a word": _filled('{"mode":[', "1,", "1]}"),
        "5,000 wrong symbols": json.dumps({"symbols": ["a"] * 5_000}).encode(),
        "5,000 unknown symbols": json.dumps({"symbols": [f"Z{n}" for n in range(5_000)]}).encode(),
        "nested lists": _filled("", "[", ""),
        "nested objects": _filled("", '{"a":', ""),
        "pairs of brackets": _filled('{"mode":[', "[],", "0]}"),
        "a long text": _filled('{"mode":"', "x", '"}'),
        "a text of escapes": _filled('{"mode":"', r"\ud800", '"}'),
        "a long number": _filled('{"force":', "9", "}"),
        "long numbers": _filled('{"force":[', "9" * 4_300 + ",", "9]}"),
        "huge numbers": _filled('{"force":[', "1e999999,", "9]}"),
        "one key, many times": _filled("{", '"mode":1,', '"mode":1}'),
        "a template": _filled(f'{{"a":{{"{TEMPLATE_KEY}":1}},"b":"', "x", '"}'),
        "no UTF-8": _filled('{"mode":"', "x", "").replace(b"x", b"\xff"),
        "too large": b"1" * (2 * LARGEST_BODY_BYTES),
    }


def _filled(before: str, unit: str, after: str) -> bytes:
    return (before + unit * (_ROOM // len(unit)) + after).encode()


def requests(token: str) -> Iterator[tuple[str, bytes]]:
    """Whole requests as they are sent."""
    for name, body in bodies().items():
        yield name, _request(token, "POST", f"{_TASKS}/refresh", body)
    mail = json.dumps({"report_type": "daily", "format": "pdf", "email": "ü" * 2_000 + "@x.de"})
    yield "a long address", _request(token, "POST", f"{_TASKS}/generate-report", mail.encode())
    chunks = b"1\r\n1\r\n" * LARGEST_BODY_BYTES + b"0\r\n\r\n"
    chunked = "Transfer-Encoding: chunked"
    yield "chunks of a byte", _head(token, "POST", f"{_TASKS}/refresh", chunked) + chunks
    room = LARGEST_HEAD_BYTES - 1_000
    lists = f"{_TASKS}/tasks"
    for name, pair in (("unknown", "{}=&"), ("repeated", "kind=&")):
        query = "".join(pair.format(n) for n in range(room // 6))
        yield f"{name} parameters", _request(token, "GET", f"{lists}?{query[:room]}")
    yield "headers", _request(token, "GET", f"{lists}?x=1", b"", *["a:"] * (room // 4))
    yield "cookies", _request(token, "GET", f"{lists}?x=1", b"", f"Cookie: {'a;' * (room // 2)}")
    yield "a body that nobody asked for", _request(token, "GET", f"{lists}?x=1", b"1" * 100_000)
    yield "a long path", _request(token, "GET", "/%41" * (room // 4))
    forged = "x" * 8_000
    yield "a forged token", _request(forged, "GET", lists)


def cost(process: psutil.Process, url: str, request: bytes) -> float:
    """Seconds of the process' time that one such request takes, its connection included."""
    where = urlsplit(url)
    before = process.cpu_times()
    for _ in range(REQUESTS):
        _send(where.hostname or "", where.port or 80, request)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / REQUESTS


def ratios(process: psutil.Process, url: str, token: str, accepted: float) -> Iterator[Ratio]:
    """Each beside a request that starts a task."""
    for name, request in requests(token):
        took = cost(process, url, request)
        yield Ratio(f"facade: refused, {name}", took, accepted, "a start", at_most=AT_MOST)


def _request(token: str, method: str, path: str, body: bytes = b"", *more: str) -> bytes:
    return _head(token, method, path, f"Content-Length: {len(body)}", *more) + body


def _head(token: str, method: str, path: str, *more: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: facade",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        "Connection: close",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _send(host: str, port: int, request: bytes) -> None:
    with socket.create_connection((host, port), timeout=60) as connection:
        try:
            connection.sendall(request)
            while connection.recv(65_536):
                pass
        except ConnectionError:  # refused before it was read to its end
            pass
