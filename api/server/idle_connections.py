"""Idle connections whose client has not shown a token: few, and the oldest makes room."""

from collections import defaultdict
from typing import Final, Protocol

# Room for a burst of clients that have connected and not said anything yet.
MOST: Final = 500
# Behind a proxy everybody has its address, but a proxy connects to send a request.
MOST_OF_ONE_ADDRESS: Final = 250


class Connection(Protocol):
    """What can be closed."""

    def evict(self) -> None:
        """Close it."""
        ...


class AnonymousConnections:
    """Those of one process, the oldest first."""

    def __init__(self, most: int = MOST, most_of_one_address: int = MOST_OF_ONE_ADDRESS) -> None:
        self._most = most
        self._most_of_one_address = most_of_one_address
        self._all: dict[Connection, str] = {}
        self._at: defaultdict[str, dict[Connection, None]] = defaultdict(dict)

    def add(self, connection: Connection, address: str) -> None:
        """Note one; where there are too many, the oldest of its address goes, or of all."""
        self._all[connection] = address
        self._at[address][connection] = None
        if len(self._at[address]) > self._most_of_one_address:
            self._close(next(iter(self._at[address])))
        elif len(self._all) > self._most:
            self.close_oldest()

    def discard(self, connection: Connection) -> None:
        """Forget one that has sent a request, or has gone."""
        address = self._all.pop(connection, None)
        if address is not None:
            del self._at[address][connection]
            if not self._at[address]:
                del self._at[address]

    def close_oldest(self) -> bool:
        """Make room for another connection; whether there was one to close."""
        oldest = next(iter(self._all), None)
        if oldest is not None:
            self._close(oldest)
        return oldest is not None

    def _close(self, connection: Connection) -> None:
        self.discard(connection)
        connection.evict()
