"""Webhooks, delivered: every worker claims what is due, and sends it."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

from autoindex.settings import Settings
from autoindex.storage.webhooks import outbox
from autoindex.storage.webhooks.outbox import Claim
from autoindex.webhooks.sender import Sender
from worker.outages import DATABASE_ERRORS, until_available

_log = logging.getLogger("prefect.workers.autoindex")

_LOOK_SECONDS: Final = 2.0
# Attempts at a time: of one endpoint, and of all.
_EACH: Final = 8
_MOST: Final = 200
# Outcomes stored at a time: leases are renewed over the same connections.
_STORES: Final = 3


class Webhooks:
    """Sends a few deliveries of each endpoint at a time, so that a slow one delays only itself."""

    def __init__(self, settings: Settings, call: Callable[..., Awaitable[Any]]) -> None:
        self._private = settings.webhook_private_addresses
        self._call = call
        self._sending: dict[UUID, asyncio.Task[None]] = {}
        self._attempts = 0
        self._store = asyncio.Semaphore(_STORES)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled; what is under way then is sent again, by another worker too."""
        sender = Sender(private=self._private)
        try:
            while True:
                self._ended.clear()
                await self._begin_due(sender)
                await _either(self._ended, _LOOK_SECONDS)
        finally:
            for task in self._sending.values():
                task.cancel()
            await sender.aclose()

    async def _begin_due(self, sender: Sender) -> None:
        room = _MOST - self._attempts
        try:
            claims: list[Claim] = await self._call(
                outbox.claim, list(self._sending), each=_EACH, most=room
            )
        except DATABASE_ERRORS as error:
            _log.debug("webhooks wait for the database: %s", error)
            return
        by_webhook: defaultdict[UUID, list[Claim]] = defaultdict(list)
        for claim in claims:
            by_webhook[claim.webhook_id].append(claim)
        for webhook_id, batch in by_webhook.items():
            self._sending[webhook_id] = asyncio.create_task(self._send(sender, webhook_id, batch))

    async def _send(self, sender: Sender, webhook_id: UUID, batch: Sequence[Claim]) -> None:
        self._attempts += len(batch)
        try:
            await asyncio.gather(*(self._attempt(sender, claim) for claim in batch))
        finally:
            self._attempts -= len(batch)
            del self._sending[webhook_id]
            self._ended.set()

    async def _attempt(self, sender: Sender, claim: Claim) -> None:
        outcome = await sender.send(claim.message)
        if not outcome.delivered:
            text = "webhook %s: attempt %d of message %s: %s"
            _log.info(text, claim.webhook_id, claim.attempt, claim.message.id, outcome.text)
        pending = f"the outcome of a delivery to webhook {claim.webhook_id} can't be stored yet"
        async with self._store:
            await until_available(lambda: self._call(outbox.settle, claim, outcome), pending)


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
