"""The four requests: each model is both an API body and a flow's parameters."""

import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from autoindex.errors import InvalidRequest
from autoindex.mail_address import MailAddress
from autoindex.settings import Settings


class Mode(StrEnum):
    """How much a refresh asks the provider for."""

    SMART = "smart"
    FULL = "full"


class Strategy(StrEnum):
    """How an index weights its constituents."""

    COMPOSITE = "composite"
    EQUAL_WEIGHT = "equal_weight"
    INVERSE_VOLATILITY = "inverse_volatility"
    MARKET_CAP = "market_cap"
    MOMENTUM = "momentum"
    RISK_PARITY = "risk_parity"


class Frequency(StrEnum):
    """How often an index is rebalanced, at the close of the first session of the period."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


class ReportType(StrEnum):
    """The period a report looks back on."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


class ReportFormat(StrEnum):
    """The kind of file a report is written as."""

    PDF = "pdf"
    EXCEL = "excel"
    JSON = "json"


PUBLISHED_STRATEGY = Strategy.COMPOSITE
PUBLISHED_FREQUENCY = Frequency.MONTHLY

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Symbol = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z0-9]{1,10}([.\-][A-Z0-9]{1,4})?$"),
    Field(description="A ticker in capitals, as in the universe.", examples=["AAPL"]),
]


def _is_iso(day: object) -> object:
    # Pydantic would read 0 as 1970 and drop the time of a timestamp.
    written = isinstance(day, str) and _ISO_DATE.fullmatch(day) is not None
    if not written and type(day) is not date:
        raise ValueError("is no date; write it as in 2022-12-28")
    return day


def _not_in_the_future(day: date) -> date:
    # The wall clock on purpose, whatever instant the data stands at: see docs/glossary.md, "clock".
    if day > datetime.now(UTC).date():
        raise ValueError("lies in the future; ask for today or earlier")
    return day


def _is_written(instant: object) -> object:
    # Pydantic would read a number as seconds since 1970.
    if not isinstance(instant, str | datetime) or str(instant).strip("-.0123456789") == "":
        raise ValueError("is no time; write it as in 2022-12-28T22:00:00Z")
    return instant


def _within_reach(instant: datetime) -> datetime:
    ahead = instant - datetime.now(UTC)
    if ahead < -FARTHEST_START:
        raise ValueError("lies in the past; leave it out to start now")
    if ahead > FARTHEST_START:
        raise ValueError(f"lies more than {FARTHEST_START.days} days ahead")
    return instant.astimezone(UTC)


FARTHEST_START = timedelta(days=90)
RunAt = Annotated[AwareDatetime, BeforeValidator(_is_written), AfterValidator(_within_reach)]
IsoDate = Annotated[date, BeforeValidator(_is_iso)]
PastDate = Annotated[IsoDate, AfterValidator(_not_in_the_future)]


class TaskRequest(BaseModel):
    """What the four requests have in common: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The facade schedules the flow run; its flow does not need it.
    run_at: RunAt | None = Field(
        default=None,
        exclude=True,
        description="Start at this time, with a time zone, instead of now; within 90 days.",
    )


class RefreshRequest(TaskRequest):
    """Bring daily prices up to date, then the index."""

    mode: Mode = Field(
        default=Mode.SMART,
        description="`smart` asks for what is missing, `full` for the whole history.",
    )
    # Only the first error of a list is reported: many errors cost more than the list.
    symbols: (
        Annotated[list[Symbol], Field(min_length=1, max_length=5_000, fail_fast=True)] | None
    ) = Field(
        default=None, description="Only these; every active symbol of the universe when left out."
    )
    force: StrictBool = Field(
        default=False, description="Fetch even what is fresh, and skip caches."
    )


class ComputeIndexRequest(TaskRequest):
    """Compute levels, allocations and metrics, and store them."""

    start_date: PastDate | None = Field(
        default=None,
        description="First session to compute; goes on from the last stored level when left out.",
    )
    end_date: PastDate | None = Field(
        default=None, description="Last session to compute; the newest stored one when left out."
    )
    strategy: Strategy = Field(
        default=PUBLISHED_STRATEGY,
        description="Another strategy than the published one is stored beside it.",
    )
    frequency: Frequency = Field(
        default=PUBLISHED_FREQUENCY, description="How often the index is rebalanced."
    )

    @field_validator("end_date")
    @classmethod
    def _dates_in_order(cls, end: date | None, info: ValidationInfo) -> date | None:
        start = info.data.get("start_date")
        if start and end and start > end:
            raise ValueError(f"lies before start_date {start}; swap the two")
        return end


class ReportRequest(TaskRequest):
    """Make a report on an index, and send it by mail where an address is given."""

    report_type: ReportType = Field(description="The period the report looks back on.")
    format: ReportFormat = Field(description="The kind of file.")
    email: MailAddress | None = Field(
        default=None, description="Send the report to this address too."
    )
    strategy: Strategy = Field(
        default=PUBLISHED_STRATEGY,
        description="Another strategy than the published one needs a computation first.",
    )
    frequency: Frequency = Field(
        default=PUBLISHED_FREQUENCY, description="How often the index is rebalanced."
    )

    @property
    def index_name(self) -> str:
        """`Autoindex Composite`, or `Autoindex Risk Parity, weekly` for another index."""
        name = f"Autoindex {self.strategy.replace('_', ' ').title()}"
        return name if self.frequency is PUBLISHED_FREQUENCY else f"{name}, {self.frequency}"

    def check_mail(self, settings: Settings) -> None:
        """Raise `InvalidRequest` where a mail is asked for, and there is no mail server."""
        if self.email is not None and settings.smtp_host is None:
            raise InvalidRequest(
                "email",
                "mail is off: leave it out, or have the operators set AUTOINDEX_SMTP_HOST",
            )


ArchivedType = Literal["prices", "news", "logs"]
CleanupType = Literal[ArchivedType, "reports"]
CleanupTypes = Annotated[
    list[CleanupType],
    Field(
        min_length=1,
        max_length=20,
        fail_fast=True,
        description="What is removed, and nothing else: `prices` and `news`, archived first; "
        "`logs`: expired task results, archived first, then finished runs with their idempotency "
        "keys and records of mails, and deliveries of webhooks; `reports`: report files and their "
        "records.",
    ),
]
SHORTEST_KEPT_DAYS = 30
LONGEST_KEPT_DAYS = 36_500


class CleanupRequest(TaskRequest):
    """Archive and delete what is older than its keep-by date."""

    older_than_days: Annotated[int, Field(strict=True)] = Field(
        default=365,
        ge=SHORTEST_KEPT_DAYS,
        le=LONGEST_KEPT_DAYS,
        description="Age in calendar days from which records are removed.",
    )
    types: CleanupTypes = ["prices", "news", "logs"]
    dry_run: StrictBool = Field(
        default=True, description="Only count what would be deleted. True unless said otherwise."
    )
