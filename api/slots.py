"""Slots: how many requests are handled at once, and how many of one user's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

# Fewer than there are connections to the database, or slots at Prefect.
AT_ONCE: Final = 6


class TooManyAtOnce(Exception):
    """The user's own requests have kept this one from a slot."""

    def __init__(self) -> None:
        super().__init__(f"more than {AT_ONCE} requests at once; wait for their answers first")


@asynccontextmanager
async def slot(slots: asyncio.Semaphore, seconds: float, refused: Exception) -> AsyncIterator[None]:
    """Hold one of these slots; raises `refused` where none gets free in so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await slots.acquire()
    except TimeoutError:
        raise refused from None
    try:
        yield
    finally:
        slots.release()


@dataclass(slots=True)
class _User:
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    requests: int = 0


class UserSlots:
    """Gives each user `AT_ONCE` slots, so that a flood of requests waits for itself."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._users: dict[str, _User] = {}

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Hold a slot of this user; raises `TooManyAtOnce` where none gets free in time."""
        user = self._users.setdefault(name, _User())
        user.requests += 1
        try:
            async with slot(user.slots, self._longest_seconds, TooManyAtOnce()):
                yield
        finally:
            user.requests -= 1
            if not user.requests:
                del self._users[name]
