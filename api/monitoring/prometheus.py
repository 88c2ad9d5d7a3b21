"""Metrics for Prometheus: the requests of this facade, and all tasks, queues and credits.

The processes of one facade count into files of one folder, `PROMETHEUS_MULTIPROC_DIR`, and each
answers for all of them: scrape each facade, not each process. The figures of Prefect and the
database are read when it is scraped, at most every ten seconds, and are the same on every facade.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from api.async_storage import Database
from api.cached_value import CachedValue
from api.monitoring.scrape_state import LastScrape, ScrapeLock
from api.tasks.deadline import Deadline, never
from api.tasks.runner import Kind, Status, Task, TaskRunner
from api.tasks.subscriptions import Subscriptions
from autoindex.errors import PartUnavailable
from autoindex.storage import credits as ledger
from autoindex.storage.index import level_versions
from autoindex.storage.postgres.transient import UNAVAILABLE

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where several processes count together; Prometheus' client looks there when it is loaded."""

_FRESH_SECONDS: Final = 10.0
# A run may become visible after one that started later.
_OVERLAP: Final = timedelta(seconds=60)
_METHODS: Final = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LATENCY: Final = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3_600)

log = logging.getLogger("autoindex.api")


class Metrics:
    """Counts requests, and reads what Prefect and the database count."""

    def __init__(
        self,
        runner: TaskRunner,
        database: Database,
        subscriptions: Subscriptions,
        deadline: Deadline,
    ) -> None:
        self._runner = runner
        self._database = database
        self._registry = CollectorRegistry()
        self._define(self._registry)
        subscriptions.tell_followers(self._followers.set)
        self._folder = Path(os.environ[FOLDER]) if FOLDER in os.environ else None
        self._scrape_lock = ScrapeLock(self._folder)
        self._deadline = Deadline(deadline.part_seconds)
        # Two scrapes at once ask once.
        self._scrape = CachedValue("metrics", self._read)

    def _define(self, registry: CollectorRegistry) -> None:
        def gauge(
            name: str, text: str, labels: Iterable[str] = (), mode: Any = "mostrecent"
        ) -> Gauge:
            name = f"autoindex_{name}"
            return Gauge(name, text, labels, registry=registry, multiprocess_mode=mode)

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
            "From when a task was due to its start, of tasks started since this facade was.",
            ("kind",),
            buckets=_LATENCY,
            registry=registry,
        )
        self._followers = gauge(
            "followers", "Requests that wait for a task to change.", mode="livesum"
        )
        self._tasks = gauge("tasks", "Tasks that Prefect keeps.", ("kind", "status"))
        self._queue_age = gauge(
            "queue_age_seconds", "How long the first task of a queue is overdue.", ("queue",)
        )
        self._queue_paused = gauge(
            "queue_paused", "Whether a queue starts no task until it is resumed.", ("queue",)
        )
        self._workers = gauge("workers_online", "Workers whose heartbeat is fresh.")
        index = ("strategy", "frequency")
        self._final = gauge(
            "final_session_timestamp_seconds",
            "The newest session whose level is final, as its midnight in UTC.",
            index,
        )
        self._final_since = gauge(
            "final_session_published_timestamp_seconds",
            "When the final level of that session was published.",
            index,
        )
        self._credits = gauge("credits_left", "Credits of the provider that are left.", ("period",))
        self._up = gauge("part_up", "Whether a part answers.", ("part",))

    def answered(self, scope: Any, status: int, seconds: float) -> None:
        """Count a request by its route, not its path, so that there are few series."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    async def text(self) -> bytes:
        """All metrics in Prometheus' text format; what cannot be read keeps its last value."""
        await self._scrape.get(max_age=0)
        if self._folder is None:
            return generate_latest(self._registry)
        _remove_ended_processes(self._folder)
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    async def _read(self) -> None:
        with self._scrape_lock.acquire() as last:
            if last is not None and time.monotonic() - last.at > _FRESH_SECONDS:
                last.at = time.monotonic()
                await asyncio.gather(
                    self._read_part("prefect", self._read_prefect(last), self._runner.is_busy),
                    self._read_part("database", self._read_database(), never),
                )

    async def _read_part(
        self, name: str, reading: Coroutine[Any, Any, None], is_busy: Callable[[], bool]
    ) -> None:
        """Read one part; the facade's own counters are served even where this fails.

        A part that is late because it is busy is up.
        """
        answers = False
        try:
            await self._deadline.answer(reading)
            answers = True
        except (PartUnavailable, TimeoutError, *UNAVAILABLE) as error:
            answers = isinstance(error, TimeoutError) and is_busy()
            log.warning("metrics of %s can't be read: %s", name, str(error) or "it is too slow")
        except Exception:
            log.exception("metrics of %s can't be read", name)
        self._up.labels(name).set(answers)

    async def _read_prefect(self, last: LastScrape) -> None:
        now = datetime.now(UTC)
        census = await self._runner.census(last.since - _OVERLAP)
        for kind in Kind:
            for status in Status:
                self._tasks.labels(kind, status).set(census.tasks.get((kind, status), 0))
        for queue, oldest in census.oldest_due.items():
            age = (now - oldest).total_seconds() if oldest else 0.0
            self._queue_age.labels(queue).set(max(0.0, age))
            self._queue_paused.labels(queue).set(queue in census.paused)
        self._workers.set(len(census.workers))
        for task in census.started:
            if task.id not in last.seen:
                self._started(task)
        last.since, last.seen = now, {task.id for task in census.started}

    def _started(self, task: Task) -> None:
        if task.started_at is None or task.due_at is None:
            return
        waited = (task.started_at - task.due_at).total_seconds()
        self._latency.labels(task.kind).observe(max(0.0, waited))

    async def _read_database(self) -> None:
        left = await self._database.read(ledger.left, datetime.now(UTC))
        for period, credits_left in left.items():
            self._credits.labels(period).set(credits_left)
        for final in await self._database.read(level_versions.newest_final):
            index = final.strategy, final.frequency
            midnight = datetime.combine(final.session, datetime.min.time(), UTC)
            self._final.labels(*index).set(midnight.timestamp())
            self._final_since.labels(*index).set(final.published_at.timestamp())


def _remove_ended_processes(folder: Path) -> None:
    """Remove the live gauges of processes that have ended; their counters stay."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            with suppress(FileNotFoundError):  # another process removes it at the same time
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
