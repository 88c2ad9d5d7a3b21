"""A proxy before an HTTP server whose requests can be answered with an error of the server."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

import httpx

from tests.bounds import HANG_SECONDS

_OF_THE_CONNECTION = frozenset({"connection", "transfer-encoding", "content-encoding", "host"})


class TroubledProxy:
    """Passes requests on, but for those of which `fails` says so: they get `answer`.

    `failed` are their paths.
    """

    def __init__(self, target: httpx.URL) -> None:
        self.fails: Callable[[str, str], bool] = lambda _method, _path: False
        self.failed: list[str] = []
        self.answer = (500, b'{"exception_message": "Internal Server Error"}')
        proxy = self
        http = httpx.Client(
            base_url=target.copy_with(path="/"), timeout=HANG_SECONDS, trust_env=False
        )

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if proxy.fails(self.command, self.path):
                    proxy.failed.append(self.path)
                    status, page = proxy.answer
                    self._answer(status, {}, page)
                    return
                headers = _passed_on(dict(self.headers))
                answer = http.request(self.command, self.path, headers=headers, content=body)
                self._answer(answer.status_code, _passed_on(dict(answer.headers)), answer.content)

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() != "content-length":
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._http = http
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.close()


def _passed_on(headers: dict[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION
    }
