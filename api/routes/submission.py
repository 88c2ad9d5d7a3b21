"""Starting a task: once for each request, and within the limit of its queue."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Concatenate, Final, ParamSpec
from uuid import UUID

from fastapi import BackgroundTasks, Depends, Header, Request, Response
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from api.async_storage import Database
from api.problems import Problem
from api.routes.dependencies import By, Runner, Stored, count_start
from api.routes.work import Work, digest
from api.schemas import TaskQueued
from api.tasks.queue_limit import QueueLimit
from api.tasks.runner import Kind, Started, Status, Task, TaskRunner
from autoindex.requests import TaskRequest
from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.runs import idempotency, shared_tasks, worker_notify
from autoindex.storage.runs.idempotency import Booking

NAMES: Final[Mapping[Kind, str]] = {
    Kind.REFRESH: "Refresh",
    Kind.COMPUTE: "Index computation",
    Kind.REPORT: "Report generation",
    Kind.CLEANUP: "Cleanup",
}
# Equal work requested twice is done once. A report may be mailed to another address each time.
_JOINED: Final = frozenset({Kind.REFRESH, Kind.COMPUTE})
_MOST_RENEWALS: Final = 5

P = ParamSpec("P")

log = logging.getLogger("autoindex.api")

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="Any text, such as a UUID. The same key with the same request gives the same "
        "task for as long as the task is kept; with another request it is a conflict.",
        examples=["3f2b9c1e-7d5a-4e0f-9a53-1c2d3e4f5a6b"],
    ),
]


async def _queue_limit(request: Request) -> QueueLimit:
    queue_limit: QueueLimit = request.app.state.queue_limit
    return queue_limit


async def _shared(request: Request, database: Stored) -> Database:
    """The database, checked to be the one that tasks use."""
    await request.app.state.owner.check()
    return database


async def _uncounted() -> None:
    """Count no start: the request that it belongs to was counted."""


@dataclass
class Submission:
    """Queues the task of one request.

    `count_start` raises where the user may start no other task now.
    """

    by: Author
    response: Response
    background: BackgroundTasks
    runner: TaskRunner
    database: Database
    queue_limit: QueueLimit
    count_start: Callable[[], Coroutine[Any, Any, None]] = _uncounted
    idempotency_key: str | None = None

    async def queue(self, kind: Kind, body: TaskRequest) -> TaskQueued:
        """Queue a task, or find the one of this request, or an equal one that is queued.

        Raises a 409 where the key was used with another request, and `QueueFull`.
        """
        work = Work.of(kind, body)
        if self.idempotency_key is not None:
            key = digest("key", self.by.user, self.idempotency_key)
            started = await self._start_once(work, key, _key_reused)
            return self._answer(work, started, "was already queued with this Idempotency-Key")
        work.refuse_late()
        start = self._start_or_join if kind in _JOINED else self._start_new
        return self._answer(work, await start(work), "was already queued by an identical request")

    async def retry(self, ended: Task, body: TaskRequest) -> TaskQueued:
        """Queue an ended task again, or find the task that it was retried as.

        Raises a 409 where it was retried with other parameters, and `QueueFull`.
        """
        work = Work.of(ended.kind, body, ended.id)
        key = digest("retry", str(ended.id))
        started = await self._start_once(work, key, _retried_differently)
        if started.task.user != self.by.user:
            await self._join(started.task)
        if ended.retried_as is None:
            await self.runner.mark_retried(ended.id, started.task.id)
        return self._answer(work, started, "was already queued as the retry of this task")

    def _answer(self, work: Work, started: Started, known: str) -> TaskQueued:
        task = started.task
        self.response.headers["Location"] = f"/api/v1/background/status/{task.id}"
        queued = f"scheduled for {work.run_at:%Y-%m-%d %H:%M:%S} UTC" if work.run_at else "queued"
        message = f"{NAMES[task.kind]} task {queued if started.new else known}"
        return TaskQueued(task_id=task.id, status=task.status, message=message)

    async def _start_once(
        self, work: Work, key: str, conflict: Callable[[UUID | None], Problem]
    ) -> Started:
        """The one task of a key, in any state."""
        asked = digest(*work.digest_parts)
        if work.is_late and not await self.database.read(idempotency.is_booked, key, asked):
            work.refuse_late()
        booking = await self._book(work, idempotency.book, key, asked)
        if booking.asked != asked:
            raise conflict(booking.task_id)
        return await self._start(work, booking)

    async def _start_new(self, work: Work) -> Started:
        """A new task, unless the same request of this user may have made one without an answer."""
        key = digest("unsure", self.by.user, *work.digest_parts)
        booking = await self._book(work, idempotency.book_until_known, key)
        return await self._start(work, booking)

    async def _start_or_join(self, work: Work) -> Started:
        """The task of equal work that is still queued, or a new one."""
        key = digest("work", *work.digest_parts)
        booking = await self._book(work, idempotency.book_while_queued, key)
        for _ in range(_MOST_RENEWALS):
            started = await self._start(work, booking)
            if started.new or await self._is_found(started.task, booking):
                return started
            booking = await self._book(work, idempotency.renew, booking)
        # Each was claimed within milliseconds by another request and has started: start one more.
        return await self._start(work, None)

    async def _book(
        self,
        work: Work,
        book: Callable[Concatenate[Connection, P], Booking],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Booking:
        """Book a task; a new one is noted, counts as a start, and is not booked where refused."""
        async with self.database.transaction() as connection:
            booking = await connection.run_sync(book, *args, **kwargs)
            if booking.new:
                await self.count_start()
                await connection.run_sync(work.note, self.by, booking)
        return booking

    async def _is_found(self, task: Task, booking: Booking) -> bool:
        """Whether it is the task of this request, which then wants it too."""
        if task.status is Status.PENDING:
            return await self._join(task)
        return self._may_be_a_repeat(task, booking)

    async def _join(self, task: Task) -> bool:
        """Add the user to those who want a task; False where it was cancelled for everybody."""
        return await self.database.transact(shared_tasks.join, self.by, task.id, task.user)

    def _may_be_a_repeat(self, task: Task, booking: Booking) -> bool:
        """Whether this user's request made it minutes ago, and may have had no answer."""
        if booking.task_id is not None or task.user != self.by.user or task.due_at is None:
            return False
        return datetime.now(UTC) - task.due_at < idempotency.UNKNOWN_FOR

    async def _start(self, work: Work, booking: Booking | None) -> Started:
        if booking is not None and booking.task_id is not None:
            # It is in the queue already.
            return await self._ask_runner(work, booking)
        async with self.queue_limit.reserve(work.kind, later=work.run_at is not None):
            return await self._ask_runner(work, booking)

    async def _ask_runner(self, work: Work, booking: Booking | None) -> Started:
        started = await self.runner.start(
            work.kind,
            work.parameters,
            user=self.by.user,
            tags=(f"request:{self.by.request_id}",) if self.by.request_id else (),
            idempotency_key=None if booking is None else str(booking.run_key),
            retry_of=work.retry_of,
            run_at=work.run_at,
        )
        new = booking if booking is not None and booking.task_id is None else None
        if started.new or new is not None:
            self.background.add_task(self._notify_workers, started, new)
        return started

    async def _notify_workers(self, started: Started, booking: Booking | None) -> None:
        """Wake the workers, and record the task of a new booking."""

        def record(connection: Connection) -> None:
            if started.new:
                worker_notify.notify(connection)
                after = {"run_key": None if booking is None else str(booking.run_key)}
                audit.record(connection, self.by, "queue task", started.task.id, after=after)
            if booking is not None:
                idempotency.settle(connection, booking, started.task.id)

        try:
            await self.database.transact(record)
        except SQLAlchemyError as problem:
            # Workers poll soon in any case; a recorded booking only saves a request to Prefect.
            log.warning("workers were not notified of task %s", started.task.id, exc_info=problem)


async def _submission(
    request: Request,
    response: Response,
    background: BackgroundTasks,
    by: By,
    runner: Runner,
    database: Annotated[Database, Depends(_shared)],
    queue_limit: Annotated[QueueLimit, Depends(_queue_limit)],
) -> Submission:
    count = partial(count_start, request)
    return Submission(by, response, background, runner, database, queue_limit, count)


# The ended task is its key.
Retry = Annotated[Submission, Depends(_submission)]


async def _with_key(
    request: Request, submission: Retry, idempotency_key: IdempotencyKey = None
) -> Submission:
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise Problem(HTTPStatus.BAD_REQUEST, "send one Idempotency-Key header")
    return replace(submission, idempotency_key=idempotency_key)


Start = Annotated[Submission, Depends(_with_key)]


def _key_reused(task_id: UUID | None) -> Problem:
    what = "another request" if task_id is None else f"another request, for task {task_id}"
    detail = f"this Idempotency-Key was used with {what}; give every request a key of its own"
    return Problem(HTTPStatus.CONFLICT, detail, name="idempotency-key-reused")


def _retried_differently(task_id: UUID | None) -> Problem:
    known = "" if task_id is None else f" as task {task_id}"
    detail = f"the task was retried with other parameters already{known}; retry that one"
    return Problem(HTTPStatus.CONFLICT, detail, name="retried-differently")
