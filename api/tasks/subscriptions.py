"""Subscriptions to tasks: requests wait here until a task changes.

A process listens once for all of them: to Prefect's events and to PostgreSQL's notifications, over
one connection each. An event is a hint to read the task again, in batches. It listens first, then
reads, then waits, and reads again from time to time: a lost hint costs seconds, not the change.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Final
from uuid import UUID

from api.tasks.runner import TaskRunner, TaskUnknown
from api.tasks.status import Snapshot, Snapshots
from autoindex.errors import PartUnavailable
from autoindex.storage.runs.task_progress import MOST_LINES, Line

MOST_FOLLOWERS: Final = 2_000
MOST_FOLLOWERS_A_USER: Final = 1_000
# How often every followed task is read again: with both streams of hints, and without one.
_SWEEP_SECONDS: Final = 5.0
_SWEEP_WITHOUT_HINTS_SECONDS: Final = 1.0
# A task that changes all the time is read at most this often.
_PAUSE_SECONDS: Final = 0.05
# Prefect accepts a subscription a moment before it serves it.
_SETTLING_SECONDS: Final = 1.0
_RECONNECT_SECONDS: Final = 2.0

Hints = AsyncGenerator[UUID | None] | AsyncGenerator[str | None]

log = logging.getLogger("autoindex.api")


class TooManyFollowers(Exception):
    """Too many requests wait for tasks to change."""


class FollowedTask:
    """One task that is followed; `snapshot` and `lines` are its newest."""

    def __init__(self, task_id: UUID, snapshots: Snapshots) -> None:
        self.snapshot: Snapshot | None = None
        self.error: Exception | None = None
        self.lines: list[Line] = []
        self.followers = 0
        self.wants_lines = False
        self._task_id = task_id
        self._snapshots = snapshots
        self._changed = asyncio.Event()
        self._begun = self._done = 0
        self._wanted: set[str] = set()
        self._reading: asyncio.Task[None] | None = None

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change: get it before the snapshot is read."""
        return self._changed

    def refresh(self, *, only_progress: bool = False) -> None:
        """Read again soon, since the task may have changed."""
        self._wanted.add("progress" if only_progress else "state")
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())

    async def read_now(self) -> Snapshot:
        """The task as of a read that begins after this call; raises what that read raises."""
        wanted = self._begun + 1
        self.refresh()
        while self._done < wanted:
            await self._changed.wait()
        return self.current()

    def current(self) -> Snapshot:
        """The newest snapshot; raises the error of the last read."""
        if self.error is not None:
            # Raised to many: each gets a traceback of its own.
            raise self.error.with_traceback(None)
        if self.snapshot is None:
            raise TaskUnknown
        return self.snapshot

    def wake(self) -> None:
        """Wake all followers."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        try:
            while self._wanted:
                await self._read_once()
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._reading = None

    async def _read_once(self) -> None:
        wanted, self._wanted = self._wanted, set()
        whole = "state" in wanted or self.snapshot is None
        self._begun += whole
        before = (self.snapshot, self.error, len(self.lines))
        try:
            await self._renew(whole=whole)
            self.error = None
        except TaskUnknown:
            self.snapshot, self.error = None, None
        except Exception as error:  # noqa: BLE001 - it is raised to the followers
            self.error = error
        self._done += whole
        if whole or before != (self.snapshot, self.error, len(self.lines)):
            self.wake()

    async def _renew(self, *, whole: bool) -> None:
        if whole or self.snapshot is None:
            self._snapshots.forget(self._task_id)
            snapshot = await self._snapshots.read(self._task_id)
        else:
            snapshot = await self._snapshots.renew(self.snapshot)
        written = min(snapshot.progress.lines, MOST_LINES) if snapshot.progress else 0
        if self.wants_lines and written > len(self.lines):
            self.lines += await self._snapshots.lines(self._task_id, len(self.lines))
        self.snapshot = snapshot


class Subscriptions:
    """Follows tasks for requests."""

    def __init__(
        self,
        snapshots: Snapshots,
        runner: TaskRunner,
        notifications: Callable[[], AsyncGenerator[str | None]],
    ) -> None:
        self.closing = False
        self.snapshots = snapshots
        self._sources: dict[str, Callable[[], Hints]] = {
            "Prefect's events": runner.changes,
            "the database's notifications": notifications,
        }
        self._connected: set[str] = set()
        self._followed: dict[UUID, FollowedTask] = {}
        self._users: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._tell: Callable[[int], None] = lambda _: None

    @property
    def followers(self) -> int:
        """How many requests follow a task."""
        return self._users.total()

    def tell_followers(self, tell: Callable[[int], None]) -> None:
        """Call `tell` with the number of followers, now and at each change."""
        self._tell = tell
        tell(self.followers)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen as long as this is open."""
        loops = [self._listen(name) for name in self._sources]
        self._tasks = [asyncio.create_task(loop) for loop in (*loops, self._sweep())]
        try:
            yield
        finally:
            self.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """End all waits: each request answers with what it has."""
        self.closing = True
        for followed in self._followed.values():
            followed.wake()

    @contextmanager
    def follow(self, task_id: UUID, user: str, *, lines: bool = False) -> Iterator[FollowedTask]:
        """Follow a task; raises `TooManyFollowers`."""
        if self.followers >= MOST_FOLLOWERS or self._users[user] >= MOST_FOLLOWERS_A_USER:
            raise TooManyFollowers
        if task_id not in self._followed:
            self._followed[task_id] = FollowedTask(task_id, self.snapshots)
        followed = self._followed[task_id]
        followed.followers += 1
        followed.wants_lines |= lines
        self._users[user] += 1
        self._tell(self.followers)
        try:
            yield followed
        finally:
            self._leave(task_id, user)

    def _leave(self, task_id: UUID, user: str) -> None:
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user]
        self._tell(self.followers)
        followed = self._followed[task_id]
        followed.followers -= 1
        if not followed.followers:
            followed.close()
            del self._followed[task_id]

    async def _listen(self, source: str) -> None:
        while True:
            try:
                async with aclosing(self._sources[source]()) as hints:
                    async for hint in hints:
                        self._receive(source, hint)
            except PartUnavailable as error:
                if source in self._connected:
                    log.warning("%s have stopped: %s", source, error)
            except Exception:
                log.exception("%s can't be read", source)
            self._connected.discard(source)
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _receive(self, source: str, hint: UUID | str | None) -> None:
        if hint is None:
            self._connected.add(source)
            log.info("%s are received", source)
            self._refresh_all()
            asyncio.get_running_loop().call_later(_SETTLING_SECONDS, self._refresh_all)
        elif isinstance(hint, UUID):
            self.changed(hint)
        elif followed := self._followed.get(UUID(hint)):
            followed.refresh(only_progress=True)

    def changed(self, task_id: UUID) -> None:
        """Read a task again, which has changed."""
        self.snapshots.forget(task_id)
        if followed := self._followed.get(task_id):
            followed.refresh()

    def _refresh_all(self) -> None:
        self.snapshots.forget_all()
        for followed in self._followed.values():
            followed.refresh()

    async def _sweep(self) -> None:
        swept = time.monotonic()
        while True:
            await asyncio.sleep(_SWEEP_WITHOUT_HINTS_SECONDS)
            is_incomplete = len(self._connected) < len(self._sources)
            if is_incomplete or time.monotonic() - swept >= _SWEEP_SECONDS:
                swept = time.monotonic()
                for followed in self._followed.values():
                    followed.refresh()
