"""Old finished runs of our deployments in Prefect: which they are, and their removal."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.exceptions import ObjectNotFound

# The tag of all runs of our deployments: see prefect.yaml.
TAG: Final = "autoindex"
_PAGE: Final = 200


def count(before: datetime) -> int:
    """How many runs ended before an instant."""
    with get_client(sync_client=True) as client:
        return client.count_flow_runs(flow_run_filter=_ended(before))


def remove(before: datetime) -> int:
    """Remove the runs that ended before an instant, with logs and artifacts; how many."""
    removed = 0
    with get_client(sync_client=True) as client:
        while page := _page(client, before):
            for run_id in page:
                # Prefect's own retention may have deleted it meanwhile.
                with suppress(ObjectNotFound):
                    client.delete_flow_run(run_id)
                    removed += 1
    return removed


def kept_ids(before: datetime) -> Callable[[Sequence[UUID]], set[UUID]]:
    """A function that says which of some run ids stay when `remove` is done."""

    def kept(ids: Sequence[UUID]) -> set[UUID]:
        return {run.id for run in _staying(before, id=FlowRunFilterId(any_=list(ids)))}

    return kept


def kept_keys(before: datetime) -> Callable[[Sequence[UUID]], set[UUID]]:
    """The same for the idempotency keys of runs."""

    def kept(keys: Sequence[UUID]) -> set[UUID]:
        named = FlowRunFilterIdempotencyKey(any_=[str(key) for key in keys])
        return {UUID(run.idempotency_key) for run in _staying(before, idempotency_key=named)}

    return kept


def _staying(before: datetime, **among: Any) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        ended = client.read_flow_runs(flow_run_filter=_ended(before, **among))
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(**among))
    removed = {run.id for run in ended}
    return [run for run in found if run.id not in removed]


def _page(client: SyncPrefectClient, before: datetime) -> list[UUID]:
    runs = client.read_flow_runs(flow_run_filter=_ended(before), limit=_PAGE)
    return [run.id for run in runs]


def _ended(before: datetime, **among: Any) -> FlowRunFilter:
    return FlowRunFilter(
        **among,
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(before_=before),
    )
