"""Read the index: levels, allocations, metrics."""

from datetime import date
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from api.bodies import GuardedRoute
from api.dependencies import Stored, requires
from api.pages import CSV, Shown
from api.problems import Problem
from api.tokens import Scope
from autoindex.requests import (
    PUBLISHED_FREQUENCY,
    PUBLISHED_STRATEGY,
    Frequency,
    IsoDate,
    Strategy,
)
from autoindex.storage import metrics, published
from autoindex.storage.published import Window

router = APIRouter(
    prefix="/api/v1/index",
    tags=["index"],
    route_class=GuardedRoute,
    dependencies=[Depends(requires(Scope.READ))],
)

_CSV_TOO: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {CSV: {"schema": {"type": "string"}}}},
    304: {"description": "Nothing has changed since the `ETag` given."},
}

Accept = Annotated[str, Header(description="`text/csv` for a table instead of JSON.")]
IfNoneMatch = Annotated[str | None, Header(description="An `ETag` from an earlier answer.")]


class IndexQuery(BaseModel):
    """Which index, and which part of it."""

    model_config = {"extra": "forbid"}

    strategy: Strategy = PUBLISHED_STRATEGY
    frequency: Frequency = PUBLISHED_FREQUENCY
    start_date: IsoDate = Field(default=date(1900, 1, 1), description="First session to show.")
    end_date: IsoDate = Field(default=date(2999, 12, 31), description="Last session to show.")
    page: int = Field(default=1, ge=1, le=100_000)
    per_page: int = Field(default=1_000, ge=1, le=10_000)

    @field_validator("end_date")
    @classmethod
    def _in_order(cls, end: date, info: ValidationInfo) -> date:
        start = info.data.get("start_date")
        if start and start > end:
            raise ValueError(f"lies before start_date {start}; swap the two")
        return end

    @property
    def window(self) -> Window:
        """The same in the storage's words."""
        return Window(self.strategy, self.frequency, self.start_date, self.end_date)


class Level(BaseModel):
    """The index at the close of a session."""

    session: date = Field(examples=["2022-12-28"])
    level: float = Field(examples=[1043.27])


class Weight(BaseModel):
    """What a rebalance gave to one symbol."""

    session: date = Field(description="At whose close it was decided.", examples=["2022-12-01"])
    symbol: str = Field(examples=["AAPL"])
    weight: float = Field(examples=[0.0713])


class _Paged(BaseModel):
    strategy: Strategy
    frequency: Frequency
    total: int = Field(description="How many rows the window has.", examples=[8_100])
    page: int = Field(examples=[1])
    per_page: int = Field(examples=[1_000])


class Levels(_Paged):
    """A page of levels, oldest first."""

    levels: list[Level]


class Allocations(_Paged):
    """A page of allocations, oldest first, then by symbol."""

    allocations: list[Weight]


class Metrics(BaseModel):
    """Performance metrics as they stood at the close of a session."""

    strategy: Strategy
    frequency: Frequency
    session: date = Field(examples=["2022-12-28"])
    metrics: dict[str, dict[str, float | None]] = Field(
        description="By window, then by name; null where the history is too short.",
        examples=[{"since_inception": {"sharpe_ratio": 0.71, "max_drawdown": -0.43}}],
    )


@router.get("/levels", operation_id="readLevels", response_model=Levels, responses=_CSV_TOO)
async def levels(
    query: Annotated[IndexQuery, Query()],
    database: Stored,
    accept: Accept = "application/json",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read index levels of a window."""
    show = Shown(query, "levels", accept, if_none_match)
    return await show.page(database, published.levels, Levels, Level)


@router.get(
    "/allocations", operation_id="readAllocations", response_model=Allocations, responses=_CSV_TOO
)
async def allocations(
    query: Annotated[IndexQuery, Query()],
    database: Stored,
    accept: Accept = "application/json",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read the weights decided at each rebalance of a window."""
    show = Shown(query, "allocations", accept, if_none_match)
    return await show.page(database, published.weights, Allocations, Weight)


class MetricsQuery(BaseModel):
    """Which index, and as of when."""

    model_config = {"extra": "forbid"}

    strategy: Strategy = PUBLISHED_STRATEGY
    frequency: Frequency = PUBLISHED_FREQUENCY
    until: IsoDate = Field(default=date(2999, 12, 31), description="The newest not after this day.")


@router.get("/metrics", operation_id="readMetrics")
async def read_metrics(query: Annotated[MetricsQuery, Query()], database: Stored) -> Metrics:
    """Read the newest performance metrics."""
    found = await database.read(metrics.newest, query.strategy, query.frequency, query.until)
    if found is None:
        raise Problem(
            HTTPStatus.NOT_FOUND, f"no metrics of {query.strategy} {query.frequency} are stored"
        )
    return Metrics(
        strategy=query.strategy,
        frequency=query.frequency,
        session=found.session,
        metrics={window: dict(values) for window, values in found.values.items()},
    )
