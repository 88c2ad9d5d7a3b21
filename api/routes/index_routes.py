"""Read the index: levels, allocations, metrics."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from api.async_storage import Database
from api.auth.tokens import Scope
from api.routes import index_pages
from api.routes.dependencies import Cached, Stored, requires
from api.routes.guarded_route import GuardedRoute
from api.routes.index_pages import CSV, PagedTable, PageRequest, Row, WindowQuery
from api.routes.page_cache import PageCache
from autoindex.requests import (
    PUBLISHED_FREQUENCY,
    PUBLISHED_STRATEGY,
    Frequency,
    IsoDate,
    Strategy,
)
from autoindex.setting_types import Instant
from autoindex.storage.index import index_history
from autoindex.storage.index.index_history import Window

router = APIRouter(
    prefix="/api/v1/index",
    tags=["index"],
    route_class=GuardedRoute,
    dependencies=[Depends(requires(Scope.READ))],
)


class Order(StrEnum):
    """The order of sessions."""

    ASC = "asc"
    DESC = "desc"


class IndexQuery(WindowQuery):
    """Which index, and which part of it."""

    strategy: Strategy = PUBLISHED_STRATEGY
    frequency: Frequency = PUBLISHED_FREQUENCY
    start_date: IsoDate = Field(default=date(1900, 1, 1), description="First session to show.")
    end_date: IsoDate = Field(default=date(2999, 12, 31), description="Last session to show.")
    order: Order = Field(default=Order.ASC, description="By session: oldest or newest first.")
    as_of: Instant | None = Field(
        default=None,
        description="What was published at this instant; the newest when left out.",
        examples=["2022-12-28T22:00:00Z"],
    )

    @field_validator("end_date")
    @classmethod
    def _in_order(cls, end: date, info: ValidationInfo) -> date:
        start = info.data.get("start_date")
        if start and start > end:
            raise ValueError(f"lies before start_date {start}; swap the two")
        return end

    @property
    def window(self) -> Window:
        """The same, as storage describes it."""
        return Window(
            self.strategy,
            self.frequency,
            self.start_date,
            self.end_date,
            newest_first=self.order is Order.DESC,
            as_of=self.as_of,
        )


class AllocationQuery(IndexQuery):
    """The same for allocations, of which the next can be foreseen."""

    pro_forma: bool = Field(
        default=False,
        description="Instead of past rebalances, what the next one decides if every close stays as "
        "it is until then. Leave `start_date`, `end_date`, `order`, `as_of` and `cursor` out.",
    )

    @field_validator("pro_forma")
    @classmethod
    def _without_window(cls, wanted: bool, info: ValidationInfo) -> bool:
        for name in ("start_date", "end_date", "order", "as_of", "cursor"):
            default = cls.model_fields[name].default
            if wanted and info.data.get(name, default) != default:
                raise ValueError(f"has one session only, and no past; leave {name} out")
        return wanted


class Level(BaseModel):
    """The index at the close of a session."""

    session: date = Field(examples=["2022-12-28"])
    level: float = Field(examples=[1043.27])
    status: Literal["final", "provisional"] = Field(
        description="Provisional where a price was missing after the deadline."
    )
    version: int = Field(description="Rises by one with every change.", examples=[1])
    back_tested: bool = Field(description="Whether it is older than the index's launch.")


class Weight(BaseModel):
    """The weight that a rebalance gave to one symbol."""

    session: date = Field(
        description="The session at whose close it was decided.", examples=["2022-12-01"]
    )
    symbol: str = Field(examples=["AAPL"])
    weight: float = Field(examples=[0.0713])
    sector: str | None = Field(
        description="The symbol's sector, as the universe names it now.", examples=["Technology"]
    )


class _Paged(BaseModel):
    strategy: Strategy
    frequency: Frequency
    total: int = Field(description="The number of rows in the window.", examples=[8_100])
    page: int = Field(examples=[1])
    per_page: int = Field(examples=[1_000])
    launched_at: datetime | None = Field(
        description="When the index was first published; what is older is a back-test.",
        examples=["2022-12-28T22:00:07Z"],
    )


class LevelPage(_Paged):
    """A page of levels."""

    levels: list[Level]


class AllocationPage(_Paged):
    """A page of allocations, sorted by symbol within a session."""

    allocations: list[Weight]


class Trade(BaseModel):
    """What the next rebalance changes for one symbol."""

    symbol: str = Field(examples=["AAPL"])
    weight: float = Field(description="After it; 0 where it is sold.", examples=[0.0713])
    current_weight: float = Field(
        description="Of the holdings at the close of `decided_with`.", examples=[0.0811]
    )
    trade: float = Field(description="`weight` less `current_weight`.", examples=[-0.0098])


class ProFormaPage(_Paged):
    """A page of the next rebalance, as the newest computation foresees it, by symbol.

    The dates and the turnover are null where nothing is computed.
    """

    decided_with: date | None = Field(
        description="The newest published session, whose closes it takes.", examples=["2022-12-28"]
    )
    next_rebalance: date | None = Field(
        description="The session at whose close it is decided.", examples=["2023-01-03"]
    )
    turnover: float | None = Field(
        description="One-way: half the sum of all absolute trades.", examples=[0.0412]
    )
    allocations: list[Trade]


class Performance(BaseModel):
    """Performance metrics at the close of a session.

    `market_cap` and `composite` use the shares outstanding of one day for past sessions too, which
    makes their past look better.
    """

    session: date = Field(examples=["2022-12-28"])
    values: dict[str, dict[str, float | None]] = Field(
        description="By window, then by name. null where the history is too short: "
        "`annual_return`, `calmar_ratio` and `alpha` below 252 returns in the window, volatility, "
        "`beta`, tracking error and the other ratios below 60.",
        examples=[{"all": {"sharpe_ratio": 0.71, "max_drawdown": -0.43}}],
    )


class MetricsPage(_Paged):
    """A page of performance metrics."""

    metrics: list[Performance]


def _performance_lines(row: Row) -> list[Row]:
    session, values = row
    return [
        (session, window, name, value)
        for window, named in values.items()
        for name, value in named.items()
    ]


LEVELS: Final = PagedTable(
    "levels",
    index_history.levels,
    fields=("session", "level", "status", "version", "back_tested"),
    columns=("session", "level", "status", "version", "back_tested"),
)
ALLOCATIONS: Final = PagedTable(
    "allocations",
    index_history.weights,
    fields=("session", "symbol", "weight", "sector"),
    columns=("session", "symbol", "weight", "sector"),
)
PRO_FORMA: Final = PagedTable(
    "allocations",
    index_history.pro_forma,
    fields=("symbol", "weight", "current_weight", "trade"),
    columns=(
        "symbol",
        "weight",
        "current_weight",
        "trade",
        "decided_with",
        "next_rebalance",
        "turnover",
    ),
)
METRICS: Final = PagedTable(
    "metrics",
    index_history.metrics,
    fields=("session", "values"),
    columns=("session", "window", "metric", "value"),
    as_csv=_performance_lines,
)

IfNoneMatch = Annotated[
    str | None,
    Header(description="The `ETag` of an earlier answer.", examples=['"7-0f3a5c2e9b1d4f68"']),
]


@dataclass
class Pages:
    """Answers one request for a page of an index."""

    request: Request
    query: IndexQuery
    database: Database
    cache: PageCache

    async def of(self, table: PagedTable) -> Response:
        """The page of this book."""
        page_request = PageRequest.of(self.request, table, self.query)
        return await index_pages.answer(page_request, self.request, self.database, self.cache)


@dataclass
class AllocationPages(Pages):
    """The same for allocations."""

    query: AllocationQuery


async def _pages(
    request: Request,
    query: Annotated[IndexQuery, Query()],
    database: Stored,
    cache: Cached,
    if_none_match: IfNoneMatch = None,  # noqa: ARG001 - for the documentation
) -> Pages:
    return Pages(request, query, database, cache)


async def _allocation_pages(
    request: Request,
    query: Annotated[AllocationQuery, Query()],
    database: Stored,
    cache: Cached,
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
) -> AllocationPages:
    return AllocationPages(request, query, database, cache)


Asking = Annotated[Pages, Depends(_pages)]
AskingAllocations = Annotated[AllocationPages, Depends(_allocation_pages)]


def _responses(header: str) -> dict[int | str, dict[str, Any]]:
    """The responses of a page besides JSON; `header` is the CSV's first line."""
    tag = {"ETag": {"description": "Identifies this version.", "schema": {"type": "string"}}}
    csv = {"schema": {"type": "string"}, "example": f"{header}\r\n"}
    return {
        200: {"content": {CSV: csv}, "headers": tag},
        304: {"description": "Nothing has changed since the `ETag` given.", "headers": tag},
    }


@router.head("/levels", include_in_schema=False)
@router.get(
    "/levels",
    operation_id="readLevels",
    response_model=LevelPage,
    responses=_responses(",".join(LEVELS.columns)),
)
async def levels(pages: Asking) -> Response:
    """Read index levels of a window; JSON or CSV."""
    return await pages.of(LEVELS)


@router.head("/allocations", include_in_schema=False)
@router.get(
    "/allocations",
    operation_id="readAllocations",
    response_model=ProFormaPage | AllocationPage,
    responses=_responses(",".join(ALLOCATIONS.columns)),
)
async def allocations(pages: AskingAllocations) -> Response:
    """Read the weights decided at each rebalance of a window, or a pro-forma; JSON or CSV."""
    return await pages.of(PRO_FORMA if pages.query.pro_forma else ALLOCATIONS)


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    operation_id="readMetrics",
    response_model=MetricsPage,
    responses=_responses(",".join(METRICS.columns)),
)
async def metrics(pages: Asking) -> Response:
    """Read performance metrics; `order=desc&per_page=1` gives the newest; JSON or CSV."""
    return await pages.of(METRICS)
