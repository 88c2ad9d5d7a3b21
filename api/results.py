"""What tasks return, by kind: for the contract, so results are served as they are stored."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from api.schemas import TaskStatus
from api.tasks.runner import Kind


class _Result(BaseModel):
    """A later version may add fields. That goes without saying in JSON Schema.

    Said aloud, it is an index signature in TypeScript, which keeps a union from being narrowed.
    """

    model_config = ConfigDict(
        extra="allow", json_schema_extra=lambda schema: schema.pop("additionalProperties")
    )


class SkippedResult(_Result):
    """What a scheduled task returns if the next one is due already."""

    skipped: Literal[True]
    successor: str = Field(description="The flow run that does its work.")
    due: str = Field(examples=["2022-12-28 22:00 UTC"])


class _Timed(_Result):
    duration_seconds: float = Field(examples=[9.7])


class RefreshResult(_Timed):
    """What a refresh returns."""

    symbols_processed: int = Field(description="Up to date afterwards.", examples=[20])
    records_updated: int = Field(description="Bars that are new or changed.", examples=[166_380])
    refused: dict[str, str] = Field(default={}, description="Symbols, and why each is refused.")
    deferred: dict[str, str] = Field(
        default={}, description="Symbols that the next refresh fetches, and why."
    )
    restated: list[str] = Field(default=[], description="Symbols whose whole history was replaced.")
    credits_spent: int = Field(default=0, examples=[21])
    index: dict[str, Any] = Field(default={}, description="What the computation after it returned.")


class ComputeResult(_Timed):
    """What a computation of an index returns."""

    strategy: str = Field(examples=["composite"])
    frequency: str = Field(examples=["monthly"])
    first_session: date
    last_session: date
    sessions_computed: int = Field(examples=[1])
    rebalances_computed: int = Field(examples=[0])
    level: float = Field(description="Of the last session.", examples=[1043.27])
    metrics: dict[str, float | None] = Field(description="Of the whole history.")
    notes: list[str] = Field(default=[])


class ReportResult(_Timed):
    """What a report returns."""

    report_type: str = Field(examples=["weekly"])
    format: str = Field(examples=["pdf"])
    period_start: date
    period_end: date
    file: str = Field(description="Where it can be downloaded.")
    file_name: str
    media_type: str = Field(examples=["application/pdf"])
    size_bytes: int
    sha256: str
    email: str = Field(
        description="What became of the mail.", examples=["not asked for", "sent", "refused"]
    )


class CleanupResult(_Timed):
    """What a cleanup returns."""

    dry_run: bool
    removed: dict[str, dict[str, Any]] = Field(
        description="By type: `older_than`, and the number of rows or files `deleted`.",
        examples=[{"prices": {"older_than": "2021-12-28", "archived": 20, "deleted": 20}}],
    )


class RefreshStatus(TaskStatus):
    """The status of a refresh, and its result."""

    kind: Literal[Kind.REFRESH]
    result: RefreshResult | SkippedResult | None


class ComputeStatus(TaskStatus):
    """The status of a computation, and its result."""

    kind: Literal[Kind.COMPUTE]
    result: ComputeResult | SkippedResult | None


class ReportStatus(TaskStatus):
    """The status of a report, and its result."""

    kind: Literal[Kind.REPORT]
    result: ReportResult | SkippedResult | None


class CleanupStatus(TaskStatus):
    """The status of a cleanup, and its result."""

    kind: Literal[Kind.CLEANUP]
    result: CleanupResult | SkippedResult | None


StatusByKind = Annotated[
    RefreshStatus | ComputeStatus | ReportStatus | CleanupStatus, Field(discriminator="kind")
]


class AnyTaskStatus(RootModel[StatusByKind]):
    """A task's status, and its result; `kind` says which result."""
