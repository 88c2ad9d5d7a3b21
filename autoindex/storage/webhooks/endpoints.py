"""Webhooks of users: where each wants to be told, and of what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.postgres import locks
from autoindex.storage.tables import webhooks
from autoindex.webhooks.events import EventType

MOST: Final = 10


class TooManyWebhooks(Exception):
    """The user has as many webhooks as one may have."""


class WebhookExists(Exception):
    """The user has a webhook with this URL."""


class WebhookUnknown(Exception):
    """The user has no webhook with this id, or it has no delivery with that one."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint; `failing_since` is its first failure since its newest success."""

    id: UUID
    url: str
    events: list[EventType]
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_because: str | None


_SHOWN: Final = tuple(webhooks.c[name] for name in Webhook.__dataclass_fields__)
_ENABLED: Final = {"disabled_at": None, "disabled_because": None, "failing_since": None}


def create(
    connection: Connection, author: Author, url: str, events: Sequence[EventType], secret: str
) -> Webhook:
    """Add a webhook; raises `WebhookExists` and `TooManyWebhooks`."""
    locks.until_commit(connection, f"webhooks of {author.user}")
    owned = load(connection, author.user)
    if any(one.url == url for one in owned):
        raise WebhookExists
    if len(owned) >= MOST:
        raise TooManyWebhooks
    row = {"id": uuid4(), "user_name": author.user, "url": url, "secret": secret}
    made = insert(webhooks).values(**row, events=list(events)).returning(*_SHOWN)
    created = Webhook(*connection.execute(made).one())
    audit.record(connection, author, "create webhook", created.id, after=_noted(created))
    return created


def load(connection: Connection, user: str) -> list[Webhook]:
    """A user's webhooks, oldest first."""
    query = select(*_SHOWN).where(webhooks.c.user_name == user)
    ordered = query.order_by(webhooks.c.created_at, webhooks.c.id)
    return [Webhook(*row) for row in connection.execute(ordered)]


def find(connection: Connection, user: str, webhook_id: UUID) -> Webhook:
    """A user's webhook; raises `WebhookUnknown`."""
    row = connection.execute(select(*_SHOWN).where(_is(user, webhook_id))).one_or_none()
    if row is None:
        raise WebhookUnknown
    return Webhook(*row)


def remove(connection: Connection, author: Author, webhook_id: UUID) -> None:
    """Remove a webhook with its deliveries; raises `WebhookUnknown`."""
    removed = delete(webhooks).where(_is(author.user, webhook_id)).returning(*_SHOWN)
    row = connection.execute(removed).one_or_none()
    if row is None:
        raise WebhookUnknown
    before = _noted(Webhook(*row))
    audit.record(connection, author, "delete webhook", webhook_id, before=before)


def enable(connection: Connection, author: Author, webhook_id: UUID) -> Webhook:
    """Tell a disabled webhook again, of what waits too; raises `WebhookUnknown`."""
    found = find(connection, author.user, webhook_id)
    off = and_(_is(author.user, webhook_id), webhooks.c.disabled_at.is_not(None))
    if connection.execute(update(webhooks).where(off).values(_ENABLED)).rowcount:
        before = {"disabled_because": found.disabled_because}
        after = {"disabled_because": None}
        audit.record(connection, author, "enable webhook", webhook_id, before=before, after=after)
    return find(connection, author.user, webhook_id)


def disable(connection: Connection, webhook_id: UUID, because: str) -> None:
    """Tell a webhook no more until its user enables it."""
    on = and_(webhooks.c.id == webhook_id, webhooks.c.disabled_at.is_(None))
    values = {"disabled_at": func.now(), "disabled_because": because}
    if connection.execute(update(webhooks).where(on).values(values)).rowcount:
        after = {"disabled_because": because}
        audit.record(connection, Author("autoindex"), "disable webhook", webhook_id, after=after)


def _noted(webhook: Webhook) -> dict[str, Any]:
    """What the audit shows: the rest of a URL may be secret, too."""
    return {"host": urlsplit(webhook.url).netloc, "events": webhook.events}


def _is(user: str, webhook_id: UUID) -> ColumnElement[bool]:
    return and_(webhooks.c.id == webhook_id, webhooks.c.user_name == user)
