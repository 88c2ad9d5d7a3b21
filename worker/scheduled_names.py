"""Names for scheduled runs: until a run begins, Prefect names it by two random words."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from worker.outages import CALL_ERRORS, without_client_retries

_log = logging.getLogger("prefect.workers.autoindex")

# Prefect plans new runs once a minute, for about a hundred hours.
_PAUSE_SECONDS: Final = 60.0
# A run that begins has a name of its own, which must stay.
_NOT_SOON: Final = timedelta(minutes=2)
_PAGE: Final = 200


class ScheduledNames:
    """Names the planned runs of a work pool; every worker does, and all find the same names."""

    def __init__(self, client: PrefectClient, pool: str) -> None:
        self._client = client
        self._pool = pool

    async def run(self) -> None:
        """Name new ones until cancelled."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                with without_client_retries():
                    await self.name_all(datetime.now(UTC) + _NOT_SOON)
            except CALL_ERRORS as error:
                _log.debug("scheduled runs are not named: %s", error)

    async def name_all(self, after: datetime) -> None:
        """Name the runs that are due after an instant."""
        for planned in await self._planned(after):
            name = _name(planned)
            if name is not None and planned.name != name:
                await self._client.update_flow_run(planned.id, name=name)

    async def _planned(self, after: datetime) -> list[FlowRun]:
        scheduled = FlowRunFilterStateType(any_=[StateType.SCHEDULED])
        return await self._client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=scheduled),
                expected_start_time=FlowRunFilterExpectedStartTime(after_=after),
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool])),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=_PAGE,
        )


def _name(planned: FlowRun) -> str | None:
    """As in "hourly smart refresh, due 29 Nov 14:05 UTC"; None for a run without a schedule."""
    by, due = planned.created_by, planned.expected_start_time
    if by is None or by.type != "SCHEDULE" or not by.display_value or due is None:
        return None
    schedule = by.display_value.replace("-", " ")
    return f"{schedule}, due {due.astimezone(UTC):%d %b %H:%M} UTC"
