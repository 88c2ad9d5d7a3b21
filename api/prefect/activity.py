"""What runs, waits and has ended on a Prefect server: lists by group, and counts."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from api.prefect import states
from api.prefect.answers import History, parsed
from api.prefect.deployment_cache import Deployments
from api.prefect.rest import Rest
from api.prefect.run_reader import JSON, LATER_TAG, MOST_AT_ONCE, RunReader, in_state
from api.prefect.work_pool import PrefectWorkPool
from api.tasks.runner import Activity, Census, Kind, Page, Status

_BEGUN: Final = ("RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLING")
# Runs are kept for 90 days.
_HISTORY_DAYS: Final = 100


class Activities:
    """Groups and counts the flow runs of our deployments."""

    def __init__(self, rest: Rest, deployments: Deployments, pool: PrefectWorkPool) -> None:
        self._rest = rest
        self._deployments = deployments
        self._pool = pool
        self._reader = RunReader(rest, deployments)

    async def activity(self) -> Activity:
        """Read running, due and scheduled runs, in parallel."""
        ids = {"deployment_id": {"any_": await self._deployments.ids()}}
        now = datetime.now(UTC).isoformat()
        scheduled = in_state("SCHEDULED", but_not=states.AWAITING_RETRY)
        due = {**ids, "state": scheduled, "next_scheduled_start_time": {"before_": now}}
        later = {**ids, "state": scheduled, "next_scheduled_start_time": {"after_": now}}
        held = {
            "operator": "or_",
            "type": {"any_": ["PAUSED"]},
            "name": {"any_": [states.AWAITING_RETRY]},
        }
        groups = (
            {**ids, "state": in_state("RUNNING", "CANCELLING")},
            {**ids, "state": in_state("PENDING")},
            due,
            {**ids, "state": held},
            later,
        )
        (running, claimed, ready, waiting, planned), workers, queues = await asyncio.gather(
            asyncio.gather(*(self._group(group) for group in groups)),
            self._pool.workers(),
            self._pool.queues(),
        )
        return Activity(
            active=running,
            reserved=_joined(claimed, ready),
            scheduled=_joined(waiting, planned),
            workers=workers,
            paused=_paused(queues),
        )

    async def _group(self, flow_runs: JSON) -> Page:
        filters = {"flow_runs": flow_runs, "sort": "NEXT_SCHEDULED_START_TIME_ASC"}
        found, total = await self._reader.page(filters, page=1, limit=MOST_AT_ONCE)
        return Page(tuple(self._reader.tasks(found)), total)

    async def queued(self, kind: Kind, *, later: bool = False) -> int:
        """Count the runs that no worker has claimed."""
        runs: JSON = {
            "deployment_id": {"any_": await self._deployments.ids(kind)},
            "state": in_state("SCHEDULED"),
            "next_scheduled_start_time": {
                "after_" if later else "before_": datetime.now(UTC).isoformat()
            },
        }
        if later:
            runs["tags"] = {"all_": [LATER_TAG]}
        answer = await self._rest.send("POST", "/flow_runs/count", {"flow_runs": runs}, aside=True)
        return parsed(answer, int)

    async def census(self, since: datetime) -> Census:
        """Count runs by Prefect's history, one query a kind."""
        kinds = await self._deployments.kinds()
        counted = await asyncio.gather(*(self._counted(*known) for known in kinds.items()))
        ids = {"deployment_id": {"any_": await self._deployments.ids()}}
        # For a run that has not started Prefect uses its due time.
        begun = {
            **ids,
            "state": in_state(*_BEGUN),
            "start_time": {"after_": since.isoformat(), "is_null_": False},
        }
        started = await self._reader.all({"flow_runs": begun, "sort": "START_TIME_ASC"}, aside=True)
        queues = await self._pool.queues()
        return Census(
            tasks={pair: count for kind in counted for pair, count in kind.items()},
            oldest_due=await self._oldest_due(ids, queues),
            started=self._reader.tasks(started),
            workers=await self._pool.workers(),
            paused=_paused(queues),
        )

    async def _counted(self, deployment: UUID, kind: Kind) -> dict[tuple[Kind, Status], int]:
        now = datetime.now(UTC)
        span = timedelta(days=_HISTORY_DAYS)
        body = {
            "history_start": (now - span).isoformat(),
            "history_end": now.isoformat(),
            "history_interval_seconds": span.total_seconds(),
            "flow_runs": {"deployment_id": {"any_": [str(deployment)]}},
        }
        answer = await self._rest.send("POST", "/flow_runs/history", body, aside=True)
        counts: Counter[tuple[Kind, Status]] = Counter()
        for interval in parsed(answer, list[History]):
            for state in interval.states:
                status = states.status(state.state_type, state.state_name)
                counts[kind, status] += state.count_runs
        return counts

    async def _oldest_due(self, ids: JSON, queues: Iterable[str]) -> dict[str, datetime | None]:
        now = datetime.now(UTC).isoformat()
        waiting = {
            **ids,
            "state": in_state("SCHEDULED", but_not=states.AWAITING_RETRY),
            "next_scheduled_start_time": {"before_": now},
        }
        oldest: dict[str, datetime | None] = {}
        for queue in queues:
            here = {**waiting, "work_queue_name": {"any_": [queue]}}
            filters = {"flow_runs": here, "sort": "NEXT_SCHEDULED_START_TIME_ASC"}
            found, _ = await self._reader.page(filters, page=1, limit=1, aside=True)
            oldest[queue] = found[0].next_scheduled_start_time if found else None
        return oldest


def _paused(queues: Mapping[str, bool]) -> list[str]:
    return [name for name, paused in queues.items() if paused]


def _joined(first: Page, second: Page) -> Page:
    return Page((*first.tasks, *second.tasks), first.total + second.total)
