"""Events that Autoindex emits to Prefect, and that automations act on.

Each incident has an event for its begin and one for its end, or for health; the second re-arms the
notice of the first. A suspicious close has no event for its end: its resource is its own. The
automations are in `deployments/alerts/automations.py`.
"""

from typing import Any, Final
from uuid import UUID

from prefect.events import emit_event
from prefect.events.schemas.events import Event

# Emitted by `autoindex bootstrap`: counts as health, so that the first failure causes a notice.
ALERTS_ARMED: Final = "autoindex.alerts.armed"

DATA_CURRENT: Final = "autoindex.data.current"
DATA_STALE: Final = "autoindex.data.stale"
CREDITS_LEFT: Final = "autoindex.credits.left"
CREDITS_NEARLY_SPENT: Final = "autoindex.credits.nearly-spent"
QUEUE_MOVING: Final = "autoindex.queue.moving"
QUEUE_TOO_OLD: Final = "autoindex.queue.too-old"

LEVELS_CHANGED: Final = "autoindex.levels.changed"
LEVELS_FINAL: Final = "autoindex.levels.final"
LEVELS_PROVISIONAL: Final = "autoindex.levels.provisional"
NO_CORRECTION_PENDING: Final = "autoindex.corrections.none-pending"
CORRECTION_PENDING: Final = "autoindex.corrections.pending"
CLOSE_SUSPICIOUS: Final = "autoindex.closes.suspicious"

WORKER_STARTED: Final = "autoindex.worker.started"

DATA: Final = "autoindex.data"
CREDITS: Final = "autoindex.credits"
INDEX: Final = "autoindex.index"
QUEUE: Final = "autoindex.queue"
CLOSE: Final = "autoindex.close"


def queue_resource(name: str) -> str:
    """The resource id of a work queue in our events."""
    return f"{QUEUE}.{name}"


def close_resource(symbol: str, session: str) -> str:
    """The resource id of a close in our events."""
    return f"{CLOSE}.{symbol}.{session}"


def pool_resource(pool_id: UUID) -> str:
    """The resource id of a work pool, as in Prefect's own events."""
    return f"prefect.work-pool.{pool_id}"


def emit(event: str, resource: str, reason: str) -> None:
    """Emit one event about a resource of ours; `reason` is a sentence for the operator."""
    emit_event(
        event,
        resource={"prefect.resource.id": resource, "prefect.resource.name": resource},
        payload={"reason": reason},
    )


def as_json(event: str, resource: str, related: list[dict[str, str]]) -> dict[str, Any]:
    """An event as JSON for Prefect's REST API, where there is no flow run."""
    made = Event.model_validate(
        {"event": event, "resource": {"prefect.resource.id": resource}, "related": related}
    )
    return made.model_dump(mode="json")
