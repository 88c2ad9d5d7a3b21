"""HTTP/1.1 as h11 reads it, without what a proxy might read differently or what parses slowly.

Where two programs read one head differently, a client can smuggle a request (RFC 9112, 11.2).
"""

from typing import Final

import h11

from api.server.middleware import LARGEST_HEAD_BYTES, MOST_HEADERS

# Clients that stream a body send some kilobytes in each chunk.
_MOST_CHUNKS: Final = 1_000


class StrictConnection(h11.Connection):
    """Raises `h11.RemoteProtocolError` for what is ambiguous, even where a proxy may be lenient."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, LARGEST_HEAD_BYTES)
        self._chunks, self._before_chunk = 0, False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event, checked."""
        if self.their_state is h11.IDLE:
            self._chunks, self._before_chunk = 0, False
            _check_head(self.trailing_data[0])
        elif self._before_chunk:
            _check_chunk(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            _check_request(event)
            self._before_chunk = b"transfer-encoding" in _names(event)
        elif isinstance(event, h11.Data):
            self._before_chunk = event.chunk_end
            self._chunks += event.chunk_start
            if self._chunks > _MOST_CHUNKS:
                raise h11.RemoteProtocolError(f"more than {_MOST_CHUNKS} chunks")
        return event


def _check_head(arrived: bytes) -> None:
    """Check a head before it is parsed, which is slow where there are many fields."""
    head = arrived.partition(b"\r\n\r\n")[0]
    lines = head.count(b"\n")
    if len(head) > LARGEST_HEAD_BYTES or lines > MOST_HEADERS + 1:
        raise h11.RemoteProtocolError("a head that is too large")
    if lines != head.count(b"\r\n") or b"\n " in head or b"\n\t" in head:
        raise h11.RemoteProtocolError("a line without an end, or folded")


def _check_chunk(arrived: bytes) -> None:
    """Check the line before a chunk, whose extension h11 takes as it is."""
    line = arrived.removeprefix(b"\r\n").partition(b"\r\n")[0]
    if b"\r" in line.removesuffix(b"\r"):
        raise h11.RemoteProtocolError("a chunk's line without an end")


def _names(request: h11.Request) -> set[bytes]:
    return {name for name, _ in request.headers}


def _check_request(request: h11.Request) -> None:
    names = _names(request)
    if b"transfer-encoding" in names and b"content-length" in names:
        raise h11.RemoteProtocolError("Content-Length beside Transfer-Encoding")
    if b"transfer-encoding" in names and request.http_version != b"1.1":
        raise h11.RemoteProtocolError("Transfer-Encoding before HTTP/1.1")
    if not request.target.startswith(b"/"):
        raise h11.RemoteProtocolError("no path")
