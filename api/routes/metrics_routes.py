"""What Prometheus scrapes."""

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.auth.tokens import Scope
from api.monitoring.prometheus import Metrics
from api.routes.dependencies import requires
from api.routes.guarded_route import GuardedRoute

router = APIRouter(tags=["monitoring"], route_class=GuardedRoute)

_EXAMPLE = """\
# HELP autoindex_tasks Tasks that Prefect keeps.
# TYPE autoindex_tasks gauge
autoindex_tasks{kind="refresh",status="success"} 41.0
"""


@router.get(
    "/metrics",
    operation_id="readMetricsForPrometheus",
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
