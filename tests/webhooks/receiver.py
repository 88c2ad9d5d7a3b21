"""A receiver of webhooks over HTTP, which verifies each as the specification says.

`python -m tests.webhooks.receiver PORT FILE SECRET` writes into a file what it has taken.
"""

import hmac
import json
import os
import socket
import ssl
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parent.parent.parent

Answer = Callable[["_Handler"], None]


def is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """By the specification, without any code of ours."""
    kind, _, key = secret.partition("_")
    assert kind == "whsec"
    sent = [headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")]
    signed = f"{sent[0]}.{sent[1]}.".encode() + body
    digest = b64encode(hmac.digest(b64decode(key, validate=True), signed, "sha256")).decode()
    return "." not in sent[0] and sent[1].isdecimal() and f"v1,{digest}" in sent[2].split(" ")


def answer(status: int, **headers: str) -> Answer:
    def send(handler: "_Handler") -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": "0"} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()

    return send


def endlessly(handler: "_Handler") -> None:
    """Answer 200, with a body that has no end."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"more" * 10_000)


@dataclass(frozen=True)
class Received:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(self.body)
        return payload


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        taken = Received(self.path, headers, body)
        self.server.receiver.received.append(taken)
        with suppress(ConnectionError):  # the sender has given up
            self.server.receiver.next_answer(taken)(self)

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):
            super().handle_one_request()

    def log_message(self, *_: Any) -> None:
        """Not to the tests' output."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    receiver: "Receiver"

    def handle_error(self, *_: Any) -> None:
        """A handshake that failed is the sender's outcome."""


@dataclass
class Receiver:
    """What it has received, and what it answers: `script` first, then 204."""

    port: int = 0
    script: list[Answer] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    otherwise: Answer = field(default_factory=lambda: answer(204))
    tls: ssl.SSLContext | None = None

    def next_answer(self, _: Received) -> Answer:
        return self.script.pop(0) if self.script else self.otherwise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?app=1"

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.received]

    @contextmanager
    def serving(self) -> Iterator["Receiver"]:
        with _Server(("127.0.0.1", self.port), _Handler) as server:
            if self.tls is not None:
                server.socket = self.tls.wrap_socket(server.socket, server_side=True)
            server.receiver, self.port = self, server.server_address[1]
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


@dataclass
class Held:
    """An answer that waits until it is released, and says that a request has come."""

    came: Event = field(default_factory=Event)
    go: Event = field(default_factory=Event)

    def __call__(self, handler: _Handler) -> None:
        self.came.set()
        self.go.wait()
        answer(204)(handler)


@dataclass
class _Recorder(Receiver):
    """Takes a webhook only once its file has it."""

    path: str = ""
    secret: str = ""

    def next_answer(self, taken: Received) -> Answer:
        word = "signed" if is_signed(self.secret, taken.headers, taken.body) else "unsigned"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{word} {taken.id}\n".encode())
        os.close(file)
        return answer(204)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@contextmanager
def recorder(port: int, file: Path, secret: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A receiver in a process of its own, which is killed at the end."""
    words = [sys.executable, "-m", "tests.webhooks.receiver", str(port), str(file), secret]
    process = subprocess.Popen(words, cwd=PROJECT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    PORT, FILE, SECRET = sys.argv[1:]
    FOREVER: Final = Event()
    with _Recorder(port=int(PORT), path=FILE, secret=SECRET).serving():
        FOREVER.wait()
