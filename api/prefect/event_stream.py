"""Prefect's events over one websocket: the flow runs that may have changed."""

import json
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from api.prefect.rest import Connection
from autoindex.errors import PartUnavailable

_ANSWER_SECONDS: Final = 5.0
_RUN: Final = "prefect.flow-run."
_HEARTBEAT: Final = "prefect.flow-run.heartbeat"


async def changed(connection: Connection, token: str | None) -> AsyncGenerator[UUID | None]:
    """None once subscribed, then the id of every run that changes.

    Raises `PartUnavailable` when the connection ends.

    Prefect does not confirm a subscription, and drops events for a slow subscriber: poll as well
    where every change matters.
    """
    where = httpx.URL(str(connection.url))
    is_encrypted = where.scheme == "https"
    scheme = "wss" if is_encrypted else "ws"
    url = str(where.copy_with(scheme=scheme, path=f"{where.path.rstrip('/')}/events/out"))
    try:
        async with connect(
            url,
            subprotocols=[Subprotocol("prefect")],
            additional_headers=connection.authorization,
            ssl=connection.tls if is_encrypted else None,
            open_timeout=_ANSWER_SECONDS,
            close_timeout=1,
            max_size=2**24,
            # Prefect is on the loopback or a private network, never behind the shell's proxy.
            proxy=None,
        ) as socket:
            await socket.send(json.dumps({"type": "auth", "token": token}))
            answer = json.loads(await socket.recv())
            if answer.get("type") != "auth_success":
                raise PartUnavailable("Prefect", "refuses the facade: see PREFECT_API_AUTH_STRING")
            await socket.send(json.dumps(_subscription(datetime.now(UTC))))
            yield None
            async for message in socket:
                if (run_id := _run_of(json.loads(message))) is not None:
                    yield run_id
    except (OSError, TimeoutError, WebSocketException) as error:
        raise PartUnavailable("Prefect", "closed the stream of its events") from error
    raise PartUnavailable("Prefect", "closed the stream of its events")


def _subscription(now: datetime) -> dict[str, Any]:
    names = {"prefix": [_RUN], "exclude_prefix": [_HEARTBEAT]}
    # Without `until` Prefect takes the present, and sends nothing.
    when = {"since": now.isoformat(), "until": (now + timedelta(days=3650)).isoformat()}
    return {"type": "filter", "backfill": False, "filter": {"event": names, "occurred": when}}


def _run_of(message: Mapping[str, Any]) -> UUID | None:
    event = message["event"]
    for resource in (event["resource"], *event["related"]):
        name = resource.get("prefect.resource.id", "")
        if name.startswith(_RUN):
            return UUID(name.removeprefix(_RUN))
    return None
