"""What Prefect knows of a worker's presence, beyond its heartbeats."""

import asyncio
import logging
from contextlib import suppress
from typing import Final
from urllib.parse import quote
from uuid import UUID

from prefect.client.orchestration import PrefectClient

from flows.attempts.transient_errors import PrefectError
from flows.visibility import events
from worker.outages import without_client_retries

_log = logging.getLogger("prefect.workers.autoindex")

_SIGN_OFF_SECONDS: Final = 2.0


async def announce(client: PrefectClient, pool_id: UUID) -> None:
    """Re-arm the notice that no worker is online: Prefect's own event comes later."""
    event = events.as_json(events.WORKER_STARTED, events.pool_resource(pool_id), [])
    try:
        await client.request("POST", "/events", json=[event])
    except PrefectError as error:
        _log.warning("Prefect did not take the event that the worker has started: %s", error)


async def sign_off(client: PrefectClient, pool: str, worker: str) -> None:
    """Have Prefect count a worker as offline; where it does not answer, it finds out by itself."""
    path = f"/work_pools/{quote(pool, safe='')}/workers/{quote(worker, safe='')}"
    with suppress(PrefectError, TimeoutError), without_client_retries():
        async with asyncio.timeout(_SIGN_OFF_SECONDS):
            await client.request("DELETE", path)  # type: ignore[arg-type]
