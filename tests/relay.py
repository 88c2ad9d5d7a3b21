"""A network between a process and a server that can be cut: what is sent then comes later."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from sqlalchemy import make_url

_CHUNK = 1 << 16


class Relay:
    """Passes bytes between its own port and a server's port or socket, unless it is cut.

    As with a real cable nobody is told of the cut: connections stay open, and go on when it is
    mended.
    """

    def __init__(self, target: tuple[str, int] | Path, port: int = 0) -> None:
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port), reuse_port=bool(port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Let nothing through."""
        self._whole.clear()

    def mend(self) -> None:
        """Let everything through, also what was sent meanwhile."""
        self._whole.set()

    def close(self) -> None:
        """End every connection."""
        self.mend()
        for one in (self._listener, *tuple(self._open)):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self._whole.wait()
        try:
            far = self._connect()
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            self._open.add(one)
            threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, Path):
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._target))
            return far
        return socket.create_connection(self._target)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._whole.wait()
                target.sendall(data)
        self._whole.wait()
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()


def to_database(url: str) -> tuple[Relay, str]:
    """A relay to the server of a database on a Unix socket, and the database's URL through it."""
    database = make_url(url)
    relay = Relay(Path(str(database.query["host"])) / ".s.PGSQL.5432")
    there = database.set(host="127.0.0.1", port=relay.port, query={})
    return relay, there.render_as_string(hide_password=False)
