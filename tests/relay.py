"""A network between a process and a server that can be cut: what is sent then comes later."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from sqlalchemy import make_url

_CHUNK = 1 << 16
Target = tuple[str, int] | Path


class Relay:
    """Passes bytes between its own port and a server's port or socket, unless it is cut.

    As with a real cable nobody is told of the cut: connections stay open, and go on when it is
    healed. What those on the near side say meanwhile can be looked at. As with a firewall that
    forgets, connections can also be lost for good, of which nobody is told either.
    """

    def __init__(self, target: Target, port: int = 0, host: str = "127.0.0.1") -> None:
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._forgotten: list[threading.Event] = []
        self._open: set[socket.socket] = set()
        self._held: list[bytes] = []
        self._listener = socket.create_server((host, port), reuse_port=bool(port))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Let nothing through."""
        self._held.clear()
        self._whole.clear()

    def heal(self) -> None:
        """Let everything through, also what was sent meanwhile."""
        self._whole.set()

    def forget(self) -> None:
        """Let nothing through any more on the connections that there are; new ones are whole."""
        forgotten, self._whole = self._whole, threading.Event()
        self._forgotten.append(forgotten)
        self._whole.set()
        forgotten.clear()

    def reset(self) -> None:
        """End the connections that there are at once; both ends are told."""
        for one in tuple(self._open):
            with suppress(OSError):
                # With RST. Whoever still reads would keep it open.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RD)
            self._open.discard(one)
            one.close()

    @property
    def held(self) -> bytes:
        """What was sent from the near side while it was cut the last time."""
        return b"".join(self._held)

    def close(self) -> None:
        """End every connection."""
        for whole in (self._whole, *self._forgotten):
            whole.set()
        for one in (self._listener, *tuple(self._open)):
            self._end(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._start(self._join, near)

    def _join(self, near: socket.socket) -> None:
        sent, received = SimpleQueue[bytes](), SimpleQueue[bytes]()
        whole = self._whole
        self._open.add(near)
        self._start(self._read, near, sent, whole)
        whole.wait()
        try:
            far = self._connect()
        except OSError:
            self._end(near)
            return
        self._open.add(far)
        self._start(self._read, far, received)
        self._start(self._write, sent, near, far, whole)
        self._start(self._write, received, far, near, whole)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, Path):
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._target))
            return far
        return socket.create_connection(self._target)

    def _read(
        self, source: socket.socket, read: SimpleQueue[bytes], near: threading.Event | None = None
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if near is not None and not near.is_set():
                    self._held.append(data)
                read.put(data)
        read.put(b"")

    def _write(
        self,
        read: SimpleQueue[bytes],
        source: socket.socket,
        target: socket.socket,
        whole: threading.Event,
    ) -> None:
        with suppress(OSError):
            while data := read.get():
                whole.wait()
                target.sendall(data)
        whole.wait()
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        self._end(source)

    def _end(self, one: socket.socket) -> None:
        with suppress(OSError):  # whoever reads from it is told, too
            one.shutdown(socket.SHUT_RDWR)
        self._open.discard(one)
        one.close()


def to_database(url: str) -> tuple[Relay, str]:
    """A relay to the server of a database on a Unix socket, and the database's URL through it."""
    database = make_url(url)
    relay = Relay(Path(str(database.query["host"])) / ".s.PGSQL.5432")
    there = database.set(host="127.0.0.1", port=relay.port, query={})
    return relay, there.render_as_string(hide_password=False)
