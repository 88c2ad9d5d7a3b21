"""The form of Prefect's answers: the fields that the facade uses."""

from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from api.prefect.rest import Unanswered

T = TypeVar("T")

# Kept, because to build one takes longer than to parse an answer.
_adapter: Final = lru_cache(TypeAdapter)


class State(BaseModel):
    """A flow run's state."""

    type: str
    name: str
    message: str | None = None


class PastState(State):
    """A state that a flow run has or had."""

    timestamp: datetime


class Proposal(BaseModel):
    """The answer to a proposed state; None where the state stays as it was."""

    state: State | None


class FlowRun(BaseModel):
    """A flow run."""

    class Policy(BaseModel):
        """Its retry policy."""

        retry_type: str | None = None

    id: UUID
    deployment_id: UUID | None
    state: State
    empirical_policy: Policy
    parameters: dict[str, Any]
    tags: list[str]
    labels: dict[str, Any] = Field(default_factory=dict)
    work_queue_name: str | None = None
    expected_start_time: datetime | None = None
    next_scheduled_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    run_count: int = 0

    @property
    def began_at(self) -> datetime | None:
        """When its first attempt started; for a run that never did, Prefect gives its end."""
        return self.start_time if self.run_count else None

    @property
    def waits_for_a_worker(self) -> bool:
        """Whether no process holds it; a run that retries "in process" sleeps in its process."""
        return self.state.type == "SCHEDULED" and self.empirical_policy.retry_type != "in_process"


class FlowRuns(BaseModel):
    """A page of flow runs, and how many there are in all."""

    results: list[FlowRun]
    count: int


class History(BaseModel):
    """An interval of time, and how many flow runs are in each state."""

    class Count(BaseModel):
        """Flow runs of one state."""

        state_type: str
        state_name: str
        count_runs: int

    states: list[Count]


class Flow(BaseModel):
    """A flow."""

    id: UUID


class Proposals(BaseModel):
    """The answer to a state that was proposed for several flow runs."""

    class Result(Proposal):
        """What became of one of them."""

        flow_run_id: UUID

    results: list[Result]


class WorkPool(BaseModel):
    """A work pool."""

    description: str | None


class WorkQueue(BaseModel):
    """A work queue."""

    name: str
    priority: int
    is_paused: bool


class Worker(BaseModel):
    """A worker of a work pool."""

    name: str
    status: str


def parsed(answer: httpx.Response, form: type[T]) -> T:
    """A successful answer as `form`; raises `Unanswered` where Prefect can't have given it."""
    answer.raise_for_status()
    adapter: TypeAdapter[T] = _adapter(form)  # type: ignore[arg-type]
    try:
        return adapter.validate_json(answer.content)
    except ValidationError as error:
        raise Unanswered("Prefect", "answers in an unknown form") from error
