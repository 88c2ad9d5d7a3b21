"""Read the index: levels, allocations, metrics."""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import date
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from sqlalchemy import Connection

from api.bodies import GuardedRoute
from api.database import Database
from api.dependencies import Stored, requires
from api.problems import Problem
from api.tokens import Scope
from autoindex.requests import (
    PUBLISHED_FREQUENCY,
    PUBLISHED_STRATEGY,
    Frequency,
    IsoDate,
    Strategy,
)
from autoindex.storage import metrics, published, versions
from autoindex.storage.published import Rows, Window

router = APIRouter(
    prefix="/api/v1/index",
    tags=["index"],
    route_class=GuardedRoute,
    dependencies=[Depends(requires(Scope.READ))],
)

_CSV: Final = "text/csv"
_CSV_TOO: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {_CSV: {"schema": {"type": "string"}}}},
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
    show = _Show(query, "levels", accept, if_none_match)
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
    show = _Show(query, "allocations", accept, if_none_match)
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


class _Show:
    """Shows a page of rows as JSON or CSV, or says that nothing has changed."""

    def __init__(self, query: IndexQuery, name: str, accept: str, known: str | None) -> None:
        self.query, self.name, self.known = query, name, known or ""
        self.as_csv = _CSV in accept

    async def page(
        self,
        database: Database,
        read: Callable[..., Rows],
        form: type[_Paged],
        row_form: type[BaseModel],
    ) -> Response:
        """Read version and rows as of one instant, so that the tag is never of other rows."""

        def query(connection: Connection) -> tuple[str, Rows | None]:
            tag = self._tag(versions.current(connection, versions.INDEX))
            if tag in self.known:
                return tag, None
            size = self.query.per_page
            offset = (self.query.page - 1) * size
            return tag, read(connection, self.query.window, limit=size, offset=offset)

        tag, found = await database.snapshot(query)
        headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept"}
        if found is None:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if self.as_csv:
            return Response(self._csv(found.rows), media_type=_CSV, headers=headers)
        content = self._json(found, form, row_form)
        return Response(content, media_type="application/json", headers=headers)

    def _tag(self, version: int) -> str:
        what = f"{self.name} {self.as_csv} {self.query.model_dump_json()}"
        return f'"{version}-{sha256(what.encode()).hexdigest()[:16]}"'

    def _csv(self, rows: Sequence[tuple[Any, ...]]) -> str:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(published.COLUMNS[self.name])
        writer.writerows(rows)
        return text.getvalue()

    def _json(self, found: Rows, form: type[_Paged], row_form: type[BaseModel]) -> str:
        columns = published.COLUMNS[self.name]
        rows = [row_form(**dict(zip(columns, row, strict=True))) for row in found.rows]
        query = self.query
        shown = {name: getattr(query, name) for name in ("strategy", "frequency", "page")}
        return form(
            **shown, per_page=query.per_page, total=found.total, **{self.name: rows}
        ).model_dump_json()
