"""Runs of our deployments that ended before an instant, as Prefect keeps them."""

from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.exceptions import ObjectNotFound

# Every deployment of ours gives its runs this tag: see prefect.yaml.
TAG: Final = "autoindex"
_A_PAGE: Final = 200


def count(before: datetime) -> int:
    """How many there are."""
    with get_client(sync_client=True) as client:
        return client.count_flow_runs(flow_run_filter=_ended(before))


def remove(before: datetime) -> int:
    """Remove them with their logs and artifacts; how many."""
    removed = 0
    with get_client(sync_client=True) as client:
        while page := _page(client, before):
            for run_id in page:
                # Prefect's own retention may have been quicker.
                with suppress(ObjectNotFound):
                    client.delete_flow_run(run_id)
                    removed += 1
    return removed


def _page(client: SyncPrefectClient, before: datetime) -> list[UUID]:
    runs = client.read_flow_runs(flow_run_filter=_ended(before), limit=_A_PAGE)
    return [run.id for run in runs]


def _ended(before: datetime) -> FlowRunFilter:
    return FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(before_=before),
    )
