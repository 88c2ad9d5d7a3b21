"""Clients of the facade, in a process of their own: as many as asked for, each with a connection.

    python -m benchmarks.load '{"url": ..., "tokens": [...], "clients": 200, "seconds": 30, ...}'

Prints the latencies by kind of request, as JSON. Ends by itself, and talks to the loopback only.
"""

import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit

_PATHS = "/api/v1/background"
_EARLIEST = date(1990, 1, 2)


@dataclass
class Load:
    """What is asked, and by whom; the share `starts` of the requests starts a computation."""

    url: str
    tokens: Sequence[str]
    clients: int
    tasks: Sequence[str]
    seconds: float = 3_600
    requests: int = 10**9
    starts: float = 0.1
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    sent: int = 0

    async def run(self) -> dict[str, Any]:
        """Send until time or number is up."""
        self._deadline = time.monotonic() + self.seconds
        await asyncio.gather(*(self._client(n) for n in range(self.clients)))
        return {"latencies": self.latencies, "errors": self.errors, "sent": self.sent}

    async def _client(self, number: int) -> None:
        dice = random.Random(number)  # noqa: S311
        token = self.tokens[number % len(self.tokens)]
        where = urlsplit(self.url)
        if where.hostname != "127.0.0.1":
            raise ValueError("load is for the loopback only")
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        while time.monotonic() < self._deadline and self.sent < self.requests:
            self.sent += 1
            kind, method, path, body = self._next(dice)
            writer.write(_request(token, method, path, body))
            began = time.perf_counter()
            status = await _answer(reader)
            self.latencies[kind].append(time.perf_counter() - began)
            if status not in (200, 202):
                self.errors.append(f"{kind}: {status}")
        writer.close()

    def _next(self, dice: random.Random) -> tuple[str, str, str, bytes]:
        if dice.random() < self.starts:
            # Each another: the same again would be answered with the task that is queued.
            start = _EARLIEST + timedelta(days=dice.randrange(11_000))
            strategy = dice.choice(("composite", "momentum", "equal_weight", "market_cap"))
            asked = {"start_date": start.isoformat(), "strategy": strategy}
            return "start", "POST", f"{_PATHS}/compute-index", json.dumps(asked).encode()
        what = dice.random()
        if what < 0.8 or self.starts == 0:
            return "status", "GET", f"{_PATHS}/status/{dice.choice(self.tasks)}", b""
        if what < 0.9:
            return "tasks", "GET", f"{_PATHS}/tasks?per_page=20", b""
        return "levels", "GET", "/api/v1/index/levels?per_page=50", b""


def _request(token: str, method: str, path: str, body: bytes) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: facade\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *headers = head.split("\r\n")
    for header in headers:
        name, _, value = header.partition(":")
        if name.lower() == "content-length":
            await reader.readexactly(int(value))
    return int(status.split()[1])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(Load(**json.loads(sys.argv[1])).run())))
