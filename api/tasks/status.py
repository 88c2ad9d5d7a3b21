"""Task status: state, progress and result, read for many tasks at once."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Final
from uuid import UUID

from cachetools import TLRUCache
from sqlalchemy import Connection

from api.async_storage import Database
from api.schemas import TaskProgress, TaskStatus
from api.tasks.deadline import Deadline
from api.tasks.loader import BatchLoader
from api.tasks.runner import Status, Task, TaskRunner, TaskUnknown
from autoindex.storage.postgres.transient import UNAVAILABLE
from autoindex.storage.runs import results, shared_tasks, task_progress
from autoindex.storage.runs.results import StoredResult
from autoindex.storage.runs.task_progress import Line, Progress

# An operator may run an ended task again; with Prefect's events that is noticed at once.
_ENDED_KEPT_SECONDS: Final = 30.0
_MOST_ENDED: Final = 5_000
_MOST_RUNNING: Final = 1_000
_NO_PROGRESS: Final = "the database does not answer: no progress is shown"

# A read waits at Prefect as long as a start does; with fewer, a read would wait twice.
_READS_AT_ONCE: Final = 4

log = logging.getLogger("autoindex.api")


@dataclass(frozen=True)
class Snapshot:
    """A task as of one instant."""

    task: Task
    progress: Progress | None
    result: StoredResult | None
    left: Mapping[str, datetime] = field(default_factory=dict)
    """The users who have cancelled their part of it, and when."""

    def seen_by(self, user: str) -> "Snapshot":
        """The same, ended for a user who has cancelled their part."""
        if user not in self.left:
            return self
        ended = replace(self.task, status=Status.REVOKED, completed_at=self.left[user], error=None)
        return replace(self, task=ended, result=None, left={})

    @cached_property
    def status(self) -> TaskStatus:
        """The answer."""
        task, stored = self.task, self.result
        return TaskStatus(
            task_id=task.id,
            kind=task.kind,
            status=task.status,
            result=dict(stored.result) if stored and stored.result is not None else None,
            error=task.error,
            started_at=task.started_at,
            completed_at=task.completed_at,
            result_expires_at=stored.expires_at if stored else None,
            progress=TaskProgress.of(self.progress) if self.progress else None,
            retry_of=task.retry_of,
            retried_as=task.retried_as,
        )

    @cached_property
    def body(self) -> bytes:
        """The answer as JSON."""
        return self.status.model_dump_json().encode()

    @cached_property
    def etag(self) -> str:
        """Equal for equal answers only."""
        return f'"{sha256(self.body).hexdigest()[:20]}"'


@dataclass(eq=False, slots=True)
class _Forgotten:
    """The tasks that changed during a read."""

    tasks: set[UUID] = field(default_factory=set)
    everything: bool = False

    def has(self, task_id: UUID) -> bool:
        return self.everything or task_id in self.tasks


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is stored of tasks that may run: their progress, and who has cancelled their part."""

    progress: Mapping[UUID, Progress] = field(default_factory=dict)
    left: Mapping[UUID, Mapping[str, datetime]] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: Connection, task_ids: Sequence[UUID]) -> "_Facts":
        return cls(
            task_progress.read(connection, task_ids), shared_tasks.left(connection, task_ids)
        )

    def with_(self, other: "_Facts") -> "_Facts":
        return _Facts({**self.progress, **other.progress}, {**self.left, **other.left})


def _is_running(task: Task | None) -> bool:
    return task is not None and task.started_at is not None and not task.status.final


def _expires_at(_: UUID, snapshot: Snapshot, now: float) -> float:
    """Until when an ended task is cached: not longer than its result is served."""
    if snapshot.result is None or snapshot.result.result is None:
        return now + _ENDED_KEPT_SECONDS
    left = snapshot.result.expires_at - datetime.now(UTC)
    return now + min(_ENDED_KEPT_SECONDS, left.total_seconds())


class Snapshots:
    """Reads snapshots; those of ended tasks are cached."""

    def __init__(self, runner: TaskRunner, database: Database, deadline: Deadline) -> None:
        self._runner = runner
        self._database = database
        self._batches = BatchLoader(
            self._read, deadline, most_at_once=_READS_AT_ONCE, is_busy=runner.is_busy
        )
        self._progress = BatchLoader(self._read_progress, deadline)
        self._lines = BatchLoader(self._read_lines, deadline)
        self._ended: TLRUCache[UUID, Snapshot] = TLRUCache(_MOST_ENDED, _expires_at)
        self._running: dict[UUID, None] = {}
        # For each read in progress, what it may not cache.
        self._forgotten: list[_Forgotten] = []

    async def read(self, task_id: UUID) -> Snapshot:
        """A task as it is now; one that has ended, as it was at most half a minute ago.

        Raises `TaskUnknown`, and `PartUnavailable` or SQLAlchemy's errors where a part does not
        answer.
        """
        kept = self.kept(task_id)
        found = kept or await self._batches.get(task_id)
        if found is None:
            raise TaskUnknown
        return found

    async def renew(self, known: Snapshot) -> Snapshot:
        """The same with its newest progress; the task's state is not read."""
        found = await self._progress.get(known.task.id)
        return known if found == known.progress else replace(known, progress=found)

    async def lines(self, task_id: UUID, after: int) -> Sequence[Line]:
        """The lines of a task's log after line `after`."""
        return await self._lines.get((task_id, after)) or ()

    def forget(self, task_id: UUID) -> None:
        """Forget a task that may have changed, so that it is read again."""
        for reading in self._forgotten:
            reading.tasks.add(task_id)
        self._ended.pop(task_id, None)

    def forget_all(self) -> None:
        """Forget every task."""
        for reading in self._forgotten:
            reading.everything = True
        self._ended.clear()

    def kept(self, task_id: UUID) -> Snapshot | None:
        """A task that has ended, from the cache; None where it is not cached."""
        return self._ended.get(task_id)

    async def _read(self, task_ids: Sequence[UUID]) -> Mapping[UUID, Snapshot]:
        running = [task_id for task_id in task_ids if task_id in self._running]
        with self._noting_changes() as forgotten:
            tasks, early = await asyncio.gather(
                self._runner.read_many(task_ids), self._facts_of_running(running)
            )
            # After the state, never before: a task stores its result, then ends.
            still = {task_id for task_id in running if _is_running(tasks.get(task_id))}
            rest = [task for task in tasks.values() if task.id not in still]
            if early is None:  # it has just failed: only results need it
                rest = [task for task in rest if task.status is Status.SUCCESS]
            facts, stored = await self._stored(rest)
        facts = (early or _Facts()).with_(facts)
        found = {
            task_id: Snapshot(
                task, facts.progress.get(task_id), stored.get(task_id), facts.left.get(task_id, {})
            )
            for task_id, task in tasks.items()
        }
        for snapshot in found.values():
            self._note_running(snapshot.task)
            # Otherwise it may have changed since.
            if snapshot.task.ended and not forgotten.has(snapshot.task.id):
                self._ended[snapshot.task.id] = snapshot
        return found

    def _note_running(self, task: Task) -> None:
        """Remember a running task: its progress is read together with its state next time."""
        self._running.pop(task.id, None)
        if _is_running(task):
            self._running[task.id] = None
            if len(self._running) > _MOST_RUNNING:  # the one that was read least recently
                del self._running[next(iter(self._running))]

    async def _facts_of_running(self, task_ids: Sequence[UUID]) -> "_Facts | None":
        """What is stored of these tasks; None where the database does not answer."""
        if not task_ids:
            return _Facts()
        try:
            return await self._database.read(_Facts.read, task_ids)
        except UNAVAILABLE as error:
            log.warning(_NO_PROGRESS, exc_info=error)
            return None

    @contextmanager
    def _noting_changes(self) -> Iterator["_Forgotten"]:
        forgotten = _Forgotten()
        self._forgotten.append(forgotten)
        try:
            yield forgotten
        finally:
            self._forgotten.remove(forgotten)

    async def _stored(self, tasks: Sequence[Task]) -> tuple["_Facts", Mapping[UUID, StoredResult]]:
        succeeded = [task.id for task in tasks if task.status is Status.SUCCESS]
        if not tasks:
            return _Facts(), {}

        def query(connection: Connection) -> tuple[_Facts, Mapping[UUID, StoredResult]]:
            facts = _Facts.read(connection, [task.id for task in tasks])
            now = datetime.now(UTC)
            return facts, results.read_many(connection, succeeded, now) if succeeded else {}

        try:
            return await self._database.read(query)
        except UNAVAILABLE as error:
            if succeeded:
                raise
            log.warning(_NO_PROGRESS, exc_info=error)
            return _Facts(), {}

    async def _read_progress(self, task_ids: Sequence[UUID]) -> Mapping[UUID, Progress]:
        return await self._database.read(task_progress.read, task_ids)

    async def _read_lines(
        self, keys: Sequence[tuple[UUID, int]]
    ) -> Mapping[tuple[UUID, int], Sequence[Line]]:
        numbers: dict[UUID, int] = {}
        for task_id, after in keys:
            numbers[task_id] = min(after, numbers.get(task_id, after))
        found = await self._database.read(task_progress.lines_after, numbers)
        return {
            (task_id, after): [line for line in found.get(task_id, ()) if line.number > after]
            for task_id, after in keys
        }
