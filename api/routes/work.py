"""What a request asks for: a task's kind and parameters, and when it may start."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Connection

from api.schemas import without_address
from api.tasks.runner import Kind
from autoindex.errors import InvalidRequest
from autoindex.requests import TaskRequest
from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.runs.idempotency import Booking


@dataclass(frozen=True, slots=True)
class Work:
    """What a task has to do, and when."""

    kind: Kind
    parameters: Mapping[str, Any]
    run_at: datetime | None = None
    retry_of: UUID | None = None

    @classmethod
    def of(cls, kind: Kind, body: TaskRequest, retry_of: UUID | None = None) -> Self:
        """The work of a request."""
        return cls(kind, body.model_dump(mode="json"), body.run_at, retry_of)

    @property
    def digest_parts(self) -> Sequence[object]:
        """What makes two requests equal."""
        when = () if self.run_at is None else (self.run_at.isoformat(),)
        return (self.kind, self.parameters, *when)

    def note(self, connection: Connection, by: Author, booking: Booking) -> None:
        """Note in the audit that it was asked for; addresses are not kept there."""
        action = f"start {self.kind}" if self.retry_of is None else "retry task"
        after = {
            "run_key": str(booking.run_key),
            "parameters": without_address(self.parameters),
            "run_at": None if self.run_at is None else self.run_at.isoformat(),
        }
        subjects = () if self.retry_of is None else (self.retry_of,)
        audit.record(connection, by, action, *subjects, after=after)

    @property
    def is_late(self) -> bool:
        """Whether it should have begun already."""
        return self.run_at is not None and self.run_at <= datetime.now(UTC)

    def refuse_late(self) -> None:
        """Raise a 422 where it should have begun already."""
        if self.is_late:
            raise InvalidRequest("run_at", "lies in the past; leave it out to start now")


def digest(*parts: object) -> str:
    """A digest; lists count as sets, as in every request."""
    canonical = json.dumps([_in_order(part) for part in parts], sort_keys=True)
    return sha256(canonical.encode()).hexdigest()


def _in_order(part: object) -> object:
    if isinstance(part, Mapping):
        return {name: _in_order(value) for name, value in part.items()}
    return sorted(set(part)) if isinstance(part, list) else part
