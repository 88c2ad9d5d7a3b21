"""The outbox: which event is still to be told to which webhook, and what became of each."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, delete, func, select, text, update

from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.tables import webhook_deliveries, webhooks
from autoindex.storage.webhooks import endpoints
from autoindex.storage.webhooks.endpoints import WebhookUnknown
from autoindex.webhooks.events import Event, EventType
from autoindex.webhooks.sender import Message, Outcome

# After each failure; 25.6 hours in all, so that the last one is after a day of failures.
WAITS: Final = tuple(
    timedelta(**{unit: count})
    for unit, count in (
        ("seconds", 5),
        ("minutes", 1),
        ("minutes", 5),
        ("minutes", 30),
        ("hours", 2),
        ("hours", 5),
        ("hours", 8),
        ("hours", 10),
    )
)
# Receivers that were down get what waited for them spread over this much more time.
_JITTER: Final = 0.1
# Longer than an attempt takes; afterwards whoever made the claim is gone.
_CLAIMED_FOR: Final = timedelta(minutes=1)

# A webhook that is being deleted is waited for, and then left out.
_TELL: Final = text("""
    insert into webhook_deliveries (webhook_id, message_id, event, body)
    select id, :message_id, :event, :body from webhooks
    where disabled_at is null and :event = any(events)
        and (cast(:users as text[]) is null or user_name = any(:users))
    for key share on conflict do nothing
""")
# `outcome` is null while an attempt is under way.
_CLAIM: Final = text("""
    with due as (
        select found.id from webhooks w cross join lateral (
            select id, next_attempt_at from webhook_deliveries
            where webhook_id = w.id and next_attempt_at <= now()
            order by next_attempt_at limit :each for update skip locked
        ) found
        where w.disabled_at is null and w.id <> all(:busy)
        order by found.next_attempt_at limit :most
    )
    update webhook_deliveries d
    set attempts = attempts + 1, next_attempt_at = now() + :lifetime, outcome = null
    from due, webhooks w where d.id = due.id and w.id = d.webhook_id
    returning d.id, w.id, d.attempts, w.url, w.secret, d.message_id, d.body
""")
_FAILED: Final = text("""
    update webhooks set failing_since = coalesce(failing_since, now())
    where id = :id and exists (
        select from webhook_deliveries
        where id = :delivery and attempts = :attempt
    )
    returning failing_since < now() - interval '1 day'
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that the caller is to send; attempts count from 1."""

    id: int
    webhook_id: UUID
    attempt: int
    message: Message


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for a webhook; without a next attempt it is delivered, or given up."""

    id: int
    message_id: str
    event: EventType
    body: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    outcome: str | None
    delivered_at: datetime | None


_SHOWN: Final = tuple(webhook_deliveries.c[name] for name in Delivery.__dataclass_fields__)


def tell(connection: Connection, event: Event, users: Collection[str] | None = None) -> None:
    """Add an event for these users, or for all, in the transaction that makes it a fact."""
    named = None if users is None else list(users)
    values = {"message_id": event.id, "event": event.type, "body": event.body, "users": named}
    connection.execute(_TELL, values)


def claim(connection: Connection, busy: Sequence[UUID], *, each: int, most: int) -> list[Claim]:
    """Take what is due, except for busy webhooks; `each` bounds what one of them gets."""
    values = {"busy": list(busy), "each": each, "most": most, "lifetime": _CLAIMED_FOR}
    return [
        Claim(id_, webhook_id, attempt, Message(*message))
        for id_, webhook_id, attempt, *message in connection.execute(_CLAIM, values)
    ]


def settle(connection: Connection, claimed: Claim, outcome: Outcome) -> None:
    """Note how an attempt has ended, and when the next one is."""
    # The webhook first, as its removal does: two who wait for each other would both fail.
    if outcome.delivered:
        failing = (webhooks.c.id == claimed.webhook_id) & webhooks.c.failing_since.is_not(None)
        connection.execute(update(webhooks).where(failing).values(failing_since=None))
        done = {"delivered_at": func.now(), "next_attempt_at": None, "outcome": outcome.text}
        is_it = webhook_deliveries.c.id == claimed.id
        connection.execute(update(webhook_deliveries).where(is_it).values(done))
    else:
        _note_failure(connection, claimed, outcome)
        due = None if (wait := _wait(claimed.attempt)) is None else func.now() + wait
        failed = {"outcome": outcome.text, "next_attempt_at": due}
        connection.execute(update(webhook_deliveries).where(_ours(claimed)).values(failed))


def _ours(claimed: Claim) -> ColumnElement[bool]:
    """Whether nobody else has sent it meanwhile."""
    deliveries = webhook_deliveries.c
    is_it = (deliveries.id == claimed.id) & (deliveries.attempts == claimed.attempt)
    return is_it & deliveries.delivered_at.is_(None)


def _note_failure(connection: Connection, claimed: Claim, outcome: Outcome) -> None:
    which = {"id": claimed.webhook_id, "delivery": claimed.id, "attempt": claimed.attempt}
    for_a_day = connection.execute(_FAILED, which).scalar_one_or_none()
    if outcome.gone:
        endpoints.disable(connection, claimed.webhook_id, "it answered 410 Gone")
    elif for_a_day:
        because = f"every attempt has failed for a day; the last one: {outcome.text}"
        endpoints.disable(connection, claimed.webhook_id, because)


def _wait(attempts: int) -> timedelta | None:
    """The time to the next attempt; None after the last."""
    if attempts > len(WAITS):
        return None
    return WAITS[attempts - 1] * random.uniform(1, 1 + _JITTER)  # noqa: S311


def load(
    connection: Connection, user: str, webhook_id: UUID, *, limit: int, offset: int
) -> tuple[int, list[Delivery]]:
    """The number of a webhook's deliveries, and a page, newest first; raises `WebhookUnknown`."""
    endpoints.find(connection, user, webhook_id)
    of_it = webhook_deliveries.c.webhook_id == webhook_id
    counted = select(func.count()).select_from(webhook_deliveries).where(of_it)
    query = select(*_SHOWN).where(of_it).order_by(webhook_deliveries.c.id.desc())
    page = connection.execute(query.limit(limit).offset(offset))
    return connection.execute(counted).scalar_one(), [Delivery(*row) for row in page]


def replay(connection: Connection, author: Author, webhook_id: UUID, delivery_id: int) -> Delivery:
    """Send a delivery once more, with new retries, unless it is on its way.

    Raises `WebhookUnknown`.
    """
    endpoints.find(connection, author.user, webhook_id)
    deliveries = webhook_deliveries.c
    is_it = (deliveries.webhook_id == webhook_id) & (deliveries.id == delivery_id)
    anew = {"attempts": 0, "next_attempt_at": func.now(), "delivered_at": None, "outcome": None}
    ended = is_it & deliveries.outcome.is_not(None)
    if connection.execute(update(webhook_deliveries).where(ended).values(anew)).rowcount:
        after = {"delivery": delivery_id}
        audit.record(connection, author, "replay webhook", webhook_id, after=after)
    row = connection.execute(select(*_SHOWN).where(is_it)).one_or_none()
    if row is None:
        raise WebhookUnknown
    return Delivery(*row)


def count_before(connection: Connection, instant: datetime) -> int:
    """How many deliveries were made before an instant."""
    old = webhook_deliveries.c.created_at < instant
    return connection.execute(
        select(func.count()).select_from(webhook_deliveries).where(old)
    ).scalar_one()


def forget(connection: Connection, instant: datetime) -> int:
    """Remove the deliveries that were made before an instant; how many."""
    old = webhook_deliveries.c.created_at < instant
    return connection.execute(delete(webhook_deliveries).where(old)).rowcount
