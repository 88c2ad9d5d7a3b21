"""What Autoindex tells Prefect beyond the states of its runs: events that automations act on.

Each incident has an event for "it is so" and one for "it is not, or no longer": the second arms the
notice of the first again. The automations themselves are in `deployments/alerts/automations.py`.
"""

from typing import Any, Final
from uuid import UUID

from prefect.events import emit_event
from prefect.events.schemas.events import Event

# Said by `autoindex bootstrap`: as good as a sign of health, so that the first failure is noticed.
ALERTS_ARMED: Final = "autoindex.alerts.armed"

DATA_CURRENT: Final = "autoindex.data.current"
DATA_STALE: Final = "autoindex.data.stale"
CREDITS_LEFT: Final = "autoindex.credits.left"
CREDITS_NEARLY_SPENT: Final = "autoindex.credits.nearly-spent"
QUEUE_MOVING: Final = "autoindex.queue.moving"
QUEUE_TOO_OLD: Final = "autoindex.queue.too-old"

WORKER_STARTED: Final = "autoindex.worker.started"

DATA: Final = "autoindex.data"
CREDITS: Final = "autoindex.credits"
QUEUE: Final = "autoindex.queue"


def queue_resource(name: str) -> str:
    """The resource id of a work queue in our events."""
    return f"{QUEUE}.{name}"


def pool_resource(pool_id: UUID) -> str:
    """The resource id of a work pool, as in Prefect's own events."""
    return f"prefect.work-pool.{pool_id}"


def tell(event: str, resource: str, reason: str) -> None:
    """Send one event about a resource of ours; `reason` is a sentence for whoever is on call."""
    emit_event(
        event,
        resource={"prefect.resource.id": resource, "prefect.resource.name": resource},
        payload={"reason": reason},
    )


def as_json(event: str, resource: str, related: list[dict[str, str]]) -> dict[str, Any]:
    """An event as Prefect's REST API takes it, for whoever is not a flow run."""
    made = Event.model_validate(
        {"event": event, "resource": {"prefect.resource.id": resource}, "related": related}
    )
    return made.model_dump(mode="json")
