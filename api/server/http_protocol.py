"""One connection of a client: uvicorn's, with time limits.

uvicorn itself waits without limit for a request's head and for a client to read the answer.
"""

import asyncio
import json
import resource
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from api.problems import MEDIA_TYPE
from api.server.idle_connections import AnonymousConnections
from api.server.middleware import LARGEST_HEAD_BYTES
from api.server.strict_http import StrictConnection
from api.tasks.subscriptions import MOST_FOLLOWERS

# Room for every request that waits for a task, and for short requests beside them.
MOST_CONNECTIONS: Final = MOST_FOLLOWERS + 500
HEAD_SECONDS: Final = 10.0
# A client that reads nothing for so long is gone.
_READ_SECONDS: Final = 30.0
# Open files that are not connections of clients.
_OTHER_FILES: Final = 200
# Data is parsed piece by piece, so that a head that is too large is refused early.
_PIECE_BYTES: Final = 16_384


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 on one connection; data that is no request gets a problem as its answer."""

    head_seconds = HEAD_SECONDS
    read_seconds = _READ_SECONDS
    most_connections = MOST_CONNECTIONS
    anonymous: ClassVar[AnonymousConnections] = AnonymousConnections()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = StrictConnection()
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request; of too many connections, the oldest anonymous one is closed.

        Where none is anonymous, the new client is refused.
        """
        super().connection_made(transport)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        full = len(self.connections) > min(self.most_connections, files - _OTHER_FILES)
        if full and not self.anonymous.close_oldest():
            self._end(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again soon")
        else:
            self._expect_head()
            self._note_anonymous()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; a request's head must be complete in time."""
        if self._answered:
            self._expect_head()
        for start in range(0, len(data), _PIECE_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[start : start + _PIECE_BYTES])
        if not self._answered:
            self._stop_head_timer()

    def on_response_complete(self) -> None:
        """Expect the next request; a connection that has shown a token is not anonymous."""
        known = "user" in self.scope["state"]
        super().on_response_complete()
        if self._answered and not known:
            self._note_anonymous()

    def evict(self) -> None:
        """Close this connection, which has not shown a token, to make room for another."""
        self._end(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "this idle connection was closed to make room for others",
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_head_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads the answer more slowly than it is sent."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stop_read_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even where the client never reads the end of its answer."""
        self._close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Answer data that is not HTTP."""
        detail = (
            f"this is not an HTTP request, or its head is longer than {LARGEST_HEAD_BYTES:,} bytes"
        )
        self._end(HTTPStatus.BAD_REQUEST, detail)

    @property
    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_overdue)

    def _note_anonymous(self) -> None:
        if not self.transport.is_closing():
            self.anonymous.add(self, self.client[0] if self.client else "")

    def _stop_head_timer(self) -> None:
        self.anonymous.discard(self)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _head_overdue(self) -> None:
        self._end(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive")

    def _end(self, status: HTTPStatus, detail: str) -> None:
        # An answer that has started must not be followed by another.
        begun = not self._answered and self.cycle.response_started
        if not begun and not self.transport.is_closing():
            self.transport.write(_problem(status, detail))
        self._close()

    def _close(self) -> None:
        self.transport.close()
        # Closing waits until the client has read what was written.
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(self.read_seconds, self.transport.abort)


def _problem(status: HTTPStatus, detail: str) -> bytes:
    content = {"title": status.phrase, "status": status, "detail": detail, "type": "about:blank"}
    body = json.dumps(content).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
