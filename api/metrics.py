"""What Prometheus reads: requests of this process, and tasks, queues and credits of all.

Counters and histograms are this process's own: scrape each. Gauges are asked for when they are
scraped, at most every ten seconds, and are the same on every process.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.batches import Batches
from api.database import Database
from api.in_time import InTime, never
from api.tasks import Kind, Status, Task, TaskRunner
from api.watch import Watch
from autoindex.errors import PartUnavailable
from autoindex.storage import credits as ledger
from autoindex.storage.transient import AWAY

_FRESH_SECONDS: Final = 10.0
# Of the time that an answer may take: what is away is told, and the rest is not lost with it.
_PART_SECONDS: Final = 3.0
# A run that started may become visible after one that started later.
_OVERLAP: Final = timedelta(seconds=60)
_MOST_SEEN: Final = 5_000
_METHODS: Final = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LATENCY: Final = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3_600)

log = logging.getLogger("autoindex.api")


class Metrics:
    """Counts, and asks for what others count."""

    def __init__(self, runner: TaskRunner, database: Database, watch: Watch) -> None:
        self._runner = runner
        self._database = database
        self._registry = CollectorRegistry()
        self._define(self._registry)
        self._followers.set_function(lambda: watch.followers)
        self._asked_at = float("-inf")
        self._looked_at = datetime.now(UTC)
        self._seen: OrderedDict[UUID, None] = OrderedDict()
        self._in_time: InTime[None] = InTime(_PART_SECONDS)
        # Two scrapes at once ask once.
        self._asking: Batches[str, bool] = Batches(self._ask)

    def _define(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
            return Gauge(f"autoindex_{name}", text, labels, registry=registry)

        self._requests = Counter(
            "autoindex_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "autoindex_request_seconds",
            "Time to answer; waiting for a change and streams of events included.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._latency = Histogram(
            "autoindex_start_latency_seconds",
            "From when a task was due to its start, of tasks started since this process was.",
            ("kind",),
            buckets=_LATENCY,
            registry=registry,
        )
        self._followers = gauge("followers", "Requests that wait for a task to change.")
        self._tasks = gauge("tasks", "Tasks that Prefect keeps.", ("kind", "status"))
        self._queue_age = gauge(
            "queue_age_seconds", "How long the first task of a queue is overdue.", ("queue",)
        )
        self._workers = gauge("workers_online", "Workers whose heartbeat is fresh.")
        self._credits = gauge("credits_left", "Credits of the provider that are left.", ("period",))
        self._up = gauge("part_up", "Whether a part answers.", ("part",))

    def answered(self, scope: Any, status: int, seconds: float) -> None:
        """Count a request; its route, never its path, so that series stay few."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    async def text(self) -> bytes:
        """Everything, in Prometheus' text format; what cannot be asked for keeps its last value."""
        if time.monotonic() - self._asked_at > _FRESH_SECONDS:
            await self._asking.get("all")
        return generate_latest(self._registry)

    async def _ask(self, keys: Iterable[str]) -> dict[str, bool]:
        self._asked_at = time.monotonic()
        await asyncio.gather(
            self._ask_part("prefect", self._ask_prefect(), self._runner.is_busy),
            self._ask_part("database", self._ask_database(), never),
        )
        return dict.fromkeys(keys, True)

    async def _ask_part(
        self, name: str, asking: Coroutine[Any, Any, None], is_busy: Callable[[], bool]
    ) -> None:
        """Ask one part; whatever becomes of it, this process's own counters are to be read.

        One that is late because it serves others is up.
        """
        answers = False
        try:
            await self._in_time.answer(asking)
            answers = True
        except (PartUnavailable, TimeoutError, *AWAY) as error:
            answers = isinstance(error, TimeoutError) and is_busy()
            log.warning("metrics lack what %s knows: %s", name, str(error) or "it is too slow")
        except Exception:
            log.exception("metrics lack what %s knows", name)
        self._up.labels(name).set(answers)

    async def _ask_prefect(self) -> None:
        now = datetime.now(UTC)
        census = await self._runner.census(self._looked_at - _OVERLAP)
        for kind in Kind:
            for status in Status:
                self._tasks.labels(kind, status).set(census.tasks.get((kind, status), 0))
        for queue, oldest in census.oldest_due.items():
            age = (now - oldest).total_seconds() if oldest else 0.0
            self._queue_age.labels(queue).set(max(0.0, age))
        self._workers.set(len(census.workers))
        for task in census.started:
            self._started(task)
        self._looked_at = now

    def _started(self, task: Task) -> None:
        if task.id in self._seen or task.started_at is None or task.due_at is None:
            return
        self._seen[task.id] = None
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        waited = (task.started_at - task.due_at).total_seconds()
        self._latency.labels(task.kind).observe(max(0.0, waited))

    async def _ask_database(self) -> None:
        left = await self._database.read(ledger.left, datetime.now(UTC))
        for period, credits_left in left.items():
            self._credits.labels(period).set(credits_left)
