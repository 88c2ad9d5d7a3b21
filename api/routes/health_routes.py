"""Whether the facade answers, and whether tasks can be started and run."""

from http import HTTPStatus

from fastapi import APIRouter

from api.monitoring.readiness import MISSING
from api.problems import RETRY_AFTER_SECONDS, Problem
from api.routes.dependencies import Checks
from api.routes.guarded_route import GuardedRoute
from api.schemas import Health, Readiness

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.head("/health", include_in_schema=False)
@router.get("/health", operation_id="readHealth")
async def health() -> Health:
    """Say that the facade answers; asks nobody else."""
    return Health(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", operation_id="readReadiness")
async def ready(checks: Checks) -> Readiness:
    """Check the database, Prefect, its deployments and workers; 503 names what is missing.

    They are asked once a second at most.
    """
    found = await checks.found()
    missing = [f"{part}: {said}" for part, said in found.items() if said in MISSING]
    if missing:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(missing), headers=headers)
    return Readiness(status="ready", checks=found)
