"""Batches at work: they go on after the answer, chunk by chunk."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final
from uuid import UUID

from fastapi import BackgroundTasks, Depends, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from api.async_storage import Database
from api.auth.identity import User
from api.auth.tokens import Scope
from api.problems import Problem
from api.routes.ownership import may_start
from api.routes.retry_routes import changed
from api.routes.submission import Submission
from api.tasks.batches import CHUNK, Act, Batch
from api.tasks.queue_limit import QueueFull, QueueLimit
from api.tasks.runner import TaskRunner
from autoindex.errors import InvalidRequest, PartUnavailable
from autoindex.storage.audit import Author
from autoindex.storage.runs import shared_tasks

_RETRY_SECONDS: Final = 1.0
_LATER: Final = (QueueFull, PartUnavailable, SQLAlchemyError)

log = logging.getLogger("autoindex.api")


class BatchWork:
    """Works on batches in this process; one that is interrupted goes on when it is asked again."""

    def __init__(self, runner: TaskRunner, database: Database, queue_limit: QueueLimit) -> None:
        self._runner = runner
        self._database = database
        self._queue_limit = queue_limit
        self._working: dict[UUID, asyncio.Task[None]] = {}

    def begin(self, batch: Batch, user: User, by: Author) -> Batch:
        """Begin, or go on, unless it is at work already."""
        is_over = batch.begun and batch.done == len(batch.task_ids)
        batch = replace(batch, begun=True)
        if batch.id not in self._working and not is_over:
            task = asyncio.create_task(self._work(batch, user, by))
            self._working[batch.id] = task
            task.add_done_callback(lambda _: self._working.pop(batch.id, None))
        return batch

    async def aclose(self) -> None:
        """Stop working."""
        working = [*self._working.values()]
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    async def _work(self, batch: Batch, user: User, by: Author) -> None:
        is_noted = False
        while not is_noted or batch.done < len(batch.task_ids):
            try:
                if is_noted:
                    batch = await self._chunk(batch, user, by)
                else:
                    await self._runner.batches.note(batch)
                    is_noted = True
            except _LATER as problem:
                log.info("batch %s waits: %s", batch.id, problem)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _chunk(self, batch: Batch, user: User, by: Author) -> Batch:
        size = CHUNK if batch.act is Act.CANCEL else 1
        ids = batch.task_ids[batch.done : batch.done + size]
        if batch.act is Act.CANCEL:
            acted = await self._cancel(ids, user, by)
        else:
            acted = await self._retry(ids[0], user, by)
        batch = replace(batch, done=batch.done + len(ids), acted=batch.acted + acted)
        if batch.done % CHUNK == 0 or batch.done == len(batch.task_ids):
            await self._runner.batches.note(batch)
        return batch

    async def _cancel(self, task_ids: Sequence[UUID], user: User, by: Author) -> int:
        """Cancel tasks, or the user's part of them; how many."""
        owners = dict.fromkeys(task_ids, user.name)
        for_all = user.may(Scope.ADMIN)
        over = await self._database.transact(shared_tasks.cancel, by, owners, for_all=for_all)
        left = len(task_ids) - len(over)
        return left + await self._runner.cancel_many(over, user=user.name) if over else left

    async def _retry(self, task_id: UUID, user: User, by: Author) -> int:
        """Retry one task, unless it cannot be; how many were."""
        tasks = await self._runner.read_many([task_id])
        task = tasks.get(task_id)
        if task is None or not task.ended or not may_start(user, task.kind):
            return 0
        background = BackgroundTasks()
        submission = Submission(
            by, Response(), background, self._runner, self._database, self._queue_limit
        )
        try:
            await submission.retry(task, changed(task, {}))
        except (Problem, InvalidRequest) as refused:
            log.info("task %s is not retried: %s", task_id, refused)
            return 0
        await background()
        return 1


async def _working(request: Request) -> BatchWork:
    working: BatchWork = request.app.state.batches
    return working


Working = Annotated[BatchWork, Depends(_working)]
