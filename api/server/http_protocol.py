"""One connection of a client: uvicorn's, with bounds on what a client may leave open.

uvicorn waits as long as it takes for a request's head to arrive and for an answer to be taken.
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

# Requests that wait may take all the room that is theirs; health and short answers have their own.
MOST_CONNECTIONS: Final = MOST_FOLLOWERS + 500
HEAD_SECONDS: Final = 10.0
# A client that takes nothing for so long is not waiting for the rest.
_TAKEN_SECONDS: Final = 30.0
# Of the files that a process may open, those that are no connections of clients.
_OTHER_FILES: Final = 200
# What arrives at once is read piece by piece, or it would be parsed before it is found too large.
_PIECE_BYTES: Final = 16_384


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 on one connection; what is no request is answered with a problem, too."""

    head_seconds = HEAD_SECONDS
    taken_seconds = _TAKEN_SECONDS
    most_connections = MOST_CONNECTIONS
    anonymous: ClassVar[AnonymousConnections] = AnonymousConnections()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = StrictConnection()
        self._head_timer: asyncio.TimerHandle | None = None
        self._taken_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request; who has sent none for longest makes room where too many are connected.

        Where all have, the client is turned away.
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
        """Take what arrived; a request's head must be whole in time, however it trickles in."""
        if self._answered:
            self._expect_head()
        for start in range(0, len(data), _PIECE_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[start : start + _PIECE_BYTES])
        if not self._answered:
            self._request_is_here()

    def on_response_complete(self) -> None:
        """Expect the next request; one that came with a token keeps its connection."""
        known = "user" in self.scope["state"]
        super().on_response_complete()
        if self._answered and not known:
            self._note_anonymous()

    def evict(self) -> None:
        """Close this connection, whose client has not shown a token, for another."""
        self._end(HTTPStatus.SERVICE_UNAVAILABLE, "others wait for this connection's room")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._request_is_here()
        self._answer_is_taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client takes the answer more slowly than it is made."""
        super().pause_writing()
        self._taken_timer = self.loop.call_later(self.taken_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._answer_is_taken()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also where the client never takes the last of its answer."""
        self._close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - says less than ours
        """Say that this is no HTTP."""
        detail = f"this is no HTTP request, or its head is longer than {LARGEST_HEAD_BYTES:,} bytes"
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

    def _request_is_here(self) -> None:
        self.anonymous.discard(self)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answer_is_taken(self) -> None:
        if self._taken_timer is not None:
            self._taken_timer.cancel()
            self._taken_timer = None

    def _head_overdue(self) -> None:
        self._end(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive")

    def _end(self, status: HTTPStatus, detail: str) -> None:
        # An answer that has begun is not to be mixed up with another one.
        begun = not self._answered and self.cycle.response_started
        if not begun and not self.transport.is_closing():
            self.transport.write(_problem(status, detail))
        self._close()

    def _close(self) -> None:
        self.transport.close()
        # Closing waits until what was written is taken.
        if self._taken_timer is None:
            self._taken_timer = self.loop.call_later(self.taken_seconds, self.transport.abort)


def _problem(status: HTTPStatus, detail: str) -> bytes:
    content = {"title": status.phrase, "status": status, "detail": detail, "type": "about:blank"}
    body = json.dumps(content).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
