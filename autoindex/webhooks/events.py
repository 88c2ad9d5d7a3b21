"""What webhooks tell: types of events, and the body of one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

EventType = Literal["task.ended", "levels.published", "levels.changed"]


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. Its id is the same each time it is told, and has no full stop."""

    id: str
    type: EventType
    at: datetime
    data: Mapping[str, Any]

    @property
    def body(self) -> str:
        """The payload of Standard Webhooks, as it is signed and sent."""
        at = self.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        payload = {"type": self.type, "timestamp": at, "data": dict(self.data)}
        return json.dumps(payload, separators=(",", ":"))
