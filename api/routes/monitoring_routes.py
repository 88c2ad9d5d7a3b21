"""Health, readiness and metrics."""

from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.auth.tokens import Scope
from api.monitoring.prometheus import Metrics
from api.monitoring.readiness import MISSING
from api.problems import unavailable
from api.routes.dependencies import Checks, requires
from api.routes.guarded_route import GuardedRoute
from api.schemas import Health, Readiness

router = APIRouter(route_class=GuardedRoute)

_EXAMPLE: Final = """\
# HELP autoindex_tasks Tasks that Prefect keeps.
# TYPE autoindex_tasks gauge
autoindex_tasks{kind="refresh",status="success"} 41.0
"""


@router.get("/health", operation_id="readHealth", tags=["health"])
async def health() -> Health:
    """Report that the facade answers; checks no other part."""
    return Health(status="ok")


@router.get("/ready", operation_id="readReadiness", tags=["health"])
async def ready(checks: Checks) -> Readiness:
    """Check the database, Prefect, its deployments and workers; 503 names what is missing.

    They are checked at most once a second.
    """
    found = await checks.found()
    missing = [f"{part}: {said}" for part, said in found.items() if said in MISSING]
    if missing:
        raise unavailable("; ".join(missing), "not-ready")
    return Readiness(status="ready", checks=found)


@router.get(
    "/metrics",
    operation_id="readMetricsForPrometheus",
    tags=["monitoring"],
    dependencies=[Depends(requires(Scope.METRICS, Scope.READ))],
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
async def metrics(request: Request) -> Response:
    """Read requests, tasks, queues, workers and credits; needs `metrics:read` or `tasks:read`."""
    counted: Metrics = request.app.state.metrics
    return Response(await counted.text(), media_type=CONTENT_TYPE_LATEST)
