"""Turns: how many of one user's requests are handled at once, so that a flood waits for itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

# Fewer than there are connections to the database, or places at Prefect.
AT_ONCE: Final = 6


class TooManyAtOnce(Exception):
    """The user's own requests have kept this one from its turn."""

    def __init__(self) -> None:
        super().__init__(f"more than {AT_ONCE} requests at once; wait for their answers first")


@dataclass(slots=True)
class _User:
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    requests: int = 0


class Turns:
    """Gives each user `AT_ONCE` places; who finds none free waits in line for so many seconds."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._users: dict[str, _User] = {}

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """Hold a place; raises `TooManyAtOnce` where none gets free in time."""
        user = self._users.setdefault(name, _User())
        user.requests += 1
        try:
            await self._place(user)
            try:
                yield
            finally:
                user.places.release()
        finally:
            user.requests -= 1
            if not user.requests:
                del self._users[name]

    async def _place(self, user: _User) -> None:
        try:
            async with asyncio.timeout(self._longest_seconds):
                await user.places.acquire()
        except TimeoutError:
            raise TooManyAtOnce from None
