"""Webhooks: where a user wants to be told of events, and what was told."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from api.auth.tokens import Scope
from api.routes.dependencies import (
    By,
    CurrentSettings,
    CurrentUser,
    Stored,
    count_start,
    requires,
)
from api.routes.guarded_route import GuardedRoute
from autoindex.errors import InvalidRequest
from autoindex.storage.webhooks import endpoints, outbox
from autoindex.webhooks import destinations, signature
from autoindex.webhooks.destinations import DestinationRefused
from autoindex.webhooks.events import EventType

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], route_class=GuardedRoute)

_LOOK_UP_SECONDS: Final = 1.0
# Of their own: names that nobody answers for do not hold up the facade's connections.
_LOOK_UPS: Final = ThreadPoolExecutor(4, "webhook-look-up")
_EVENTS: Final[list[EventType]] = ["task.ended", "levels.published", "levels.changed"]

reader = Depends(requires(Scope.READ))
changer = Depends(requires(Scope.RUN, Scope.ADMIN))
counted = Depends(count_start)

WebhookId = Annotated[UUID, Path(description="The webhook's id.")]
DeliveryId = Annotated[int, Path(description="The delivery's id.", ge=1, lt=2**63, examples=[1])]
Url = Annotated[
    str,
    Field(
        description="Where events are sent: a public address, by https.",
        min_length=1,
        max_length=destinations.LONGEST_URL,
        examples=["https://app.example.com/autoindex"],
    ),
]


class WebhookRequest(BaseModel):
    """Where to be told, and of what."""

    model_config = {"extra": "forbid"}

    url: Url
    events: list[EventType] = Field(
        default=_EVENTS, min_length=1, max_length=len(_EVENTS), description="All if left out."
    )


class Webhook(BaseModel):
    """Where a user is told of events."""

    id: UUID
    url: Url
    events: list[EventType] = Field(examples=[_EVENTS])
    created_at: datetime
    failing_since: datetime | None = Field(
        description="The first failure since the newest success.", examples=[None]
    )
    disabled_at: datetime | None = Field(
        description="Since when nothing is sent, until it is enabled.", examples=[None]
    )
    disabled_because: str | None = Field(examples=[None])


class NewWebhook(Webhook):
    """A webhook with its secret, which is shown this once."""

    secret: str = Field(
        description="What the library of Standard Webhooks verifies signatures with.",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
    )


class WebhookList(BaseModel):
    """A user's webhooks, oldest first."""

    webhooks: list[Webhook]


class DeliveryQuery(BaseModel):
    """Which page."""

    model_config = {"extra": "forbid"}

    page: int = Field(default=1, ge=1, le=100_000)
    per_page: int = Field(default=50, ge=1, le=200)


class Delivery(BaseModel):
    """An event for a webhook: delivered, waiting for its next attempt, or given up."""

    id: int = Field(examples=[1])
    message_id: str = Field(
        description="Its `webhook-id`, the same at each attempt.",
        examples=["msg_0196f3f48f7a7c3e9d530c2f5a7e9b10"],
    )
    event: EventType
    body: dict[str, Any] = Field(
        examples=[
            {
                "type": "task.ended",
                "timestamp": "2022-12-28T22:00:00Z",
                "data": {
                    "task_id": "0196f3f4-8f7a-7c3e-9d53-0c2f5a7e9b10",
                    "kind": "refresh",
                    "status": "success",
                },
            }
        ]
    )
    created_at: datetime
    attempts: int = Field(examples=[1])
    next_attempt_at: datetime | None = Field(
        description="Null if it is delivered or given up.", examples=[None]
    )
    outcome: str | None = Field(
        description="How the newest attempt ended; null until one has.", examples=["HTTP 204"]
    )
    delivered_at: datetime | None

    @classmethod
    def of(cls, stored: outbox.Delivery) -> "Delivery":
        """Show a delivery."""
        return cls(**{**asdict(stored), "body": json.loads(stored.body)})


class DeliveryPage(BaseModel):
    """A page of a webhook's deliveries, newest first."""

    deliveries: list[Delivery]
    total: int = Field(description="The number of deliveries on all pages.", examples=[1])
    page: int = Field(examples=[1])
    per_page: int = Field(examples=[50])


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    operation_id="createWebhook",
    dependencies=[changer, counted],
)
async def create(
    body: WebhookRequest, by: By, database: Stored, settings: CurrentSettings
) -> NewWebhook:
    """Be told of events at a URL; the answer shows the secret that signs them, once."""
    await _check(body.url, private=settings.webhook_private_addresses)
    secret, events = signature.new_secret(), sorted(set(body.events))
    made = await database.transact(endpoints.create, by, body.url, events, secret)
    return NewWebhook(**asdict(made), secret=secret)


@router.get("", operation_id="listWebhooks", dependencies=[reader])
async def list_webhooks(user: CurrentUser, database: Stored) -> WebhookList:
    """List your webhooks."""
    found = await database.read(endpoints.load, user.name)
    return WebhookList(webhooks=[Webhook(**asdict(one)) for one in found])


@router.delete(
    "/{webhook_id}",
    status_code=HTTPStatus.NO_CONTENT,
    operation_id="deleteWebhook",
    dependencies=[changer],
)
async def delete(webhook_id: WebhookId, by: By, database: Stored) -> None:
    """Be told no more; what waits for it is dropped."""
    await database.transact(endpoints.remove, by, webhook_id)


@router.post("/{webhook_id}/enable", operation_id="enableWebhook", dependencies=[changer])
async def enable(webhook_id: WebhookId, by: By, database: Stored) -> Webhook:
    """Be told again at a disabled webhook, of what waits for it too."""
    return Webhook(**asdict(await database.transact(endpoints.enable, by, webhook_id)))


@router.get("/{webhook_id}/deliveries", operation_id="listDeliveries", dependencies=[reader])
async def list_deliveries(
    webhook_id: WebhookId,
    query: Annotated[DeliveryQuery, Query()],
    user: CurrentUser,
    database: Stored,
) -> DeliveryPage:
    """List what was told and what is still to be, newest first."""
    size = query.per_page
    offset = (query.page - 1) * size
    total, found = await database.read(
        outbox.load, user.name, webhook_id, limit=size, offset=offset
    )
    shown = [Delivery.of(one) for one in found]
    return DeliveryPage(deliveries=shown, total=total, page=query.page, per_page=size)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    operation_id="replayDelivery",
    dependencies=[changer, counted],
)
async def replay(
    webhook_id: WebhookId, delivery_id: DeliveryId, by: By, database: Stored
) -> Delivery:
    """Send a delivery once more, under the same `webhook-id`; no change while it is on its way."""
    return Delivery.of(await database.transact(outbox.replay, by, webhook_id, delivery_id))


async def _check(url: str, *, private: bool) -> None:
    """Raise `InvalidRequest` where nothing would be sent; a name may come to be known later."""
    try:
        destinations.check_url(url, private=private)
        host = urlsplit(url).hostname or ""
        with suppress(OSError):  # a look-up that takes too long included
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                await destinations.resolve(host, 0, private=private, executor=_LOOK_UPS)
    except DestinationRefused as refused:
        raise InvalidRequest("url", str(refused)) from None
