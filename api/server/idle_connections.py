"""Idle connections that have not shown a token: their number is limited; the oldest goes first."""

import time
from collections import defaultdict
from typing import Final, Protocol

# Room for a burst of clients that have connected and not sent a request yet.
MOST: Final = 500
# Behind a proxy all clients have its address, but a proxy connects to send a request at once.
MOST_OF_ONE_ADDRESS: Final = 250
# Of many that connect at one moment, none has been read yet.
_GRACE_SECONDS: Final = 1.0


class Connection(Protocol):
    """A connection that can be closed."""

    def evict(self) -> None:
        """Close it."""
        ...


class AnonymousConnections:
    """Those of one process, oldest first; each has a second to send something."""

    def __init__(
        self,
        most: int = MOST,
        most_of_one_address: int = MOST_OF_ONE_ADDRESS,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        self._most = most
        self._most_of_one_address = most_of_one_address
        self._grace_seconds = grace_seconds
        self._all: dict[Connection, str] = {}
        self._at: defaultdict[str, dict[Connection, float]] = defaultdict(dict)

    def add(self, connection: Connection, address: str) -> None:
        """Add one; while there are too many, the oldest of its address is closed, or of all."""
        self._all[connection] = address
        here = self._at[address]
        here[connection] = time.monotonic()
        while len(here) > self._most_of_one_address and self._is_idle(oldest := next(iter(here))):
            self._close(oldest)
        while len(self._all) > self._most and self._is_idle(oldest := next(iter(self._all))):
            self._close(oldest)

    def discard(self, connection: Connection) -> None:
        """Remove one that has sent a request or has closed."""
        address = self._all.pop(connection, None)
        if address is not None:
            del self._at[address][connection]
            if not self._at[address]:
                del self._at[address]

    def close_oldest(self) -> bool:
        """Close the oldest; return whether there was one."""
        oldest = next(iter(self._all), None)
        if oldest is not None:
            self._close(oldest)
        return oldest is not None

    def _is_idle(self, connection: Connection) -> bool:
        since = self._at[self._all[connection]][connection]
        return time.monotonic() - since >= self._grace_seconds

    def _close(self, connection: Connection) -> None:
        self.discard(connection)
        connection.evict()
