"""Follow a task: read its status, wait for a change, or stream its events."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send

from api.auth import tokens
from api.results import AnyTaskStatus
from api.routes import negotiation
from api.routes.dependencies import CurrentUser, Following, requires
from api.routes.task_routes import PREFIX
from api.schemas import TaskId, TaskLine
from api.tasks.deadline import Deadline, unless_disconnected
from api.tasks.status import Snapshot
from api.tasks.subscriptions import FollowedTask, Subscriptions

LONGEST_WAIT_SECONDS: Final = 60
HEARTBEAT_SECONDS: Final = 15.0
LIFE_SECONDS: Final = 900.0
_RECONNECT_MILLISECONDS: Final = 2_000
_POLL_SECONDS: Final = "2"
# A client that reads nothing can keep its stream open for this much longer.
_SLOWEST_CLIENT_SECONDS: Final = 30.0


# Not guarded: a request that waits holds no database connection, and reads are shared.
router = APIRouter(prefix=PREFIX, tags=["background tasks"])
reader = Depends(requires(tokens.Scope.READ))

Wait = Annotated[
    int,
    Query(
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="Seconds to wait, at most, for the task to change. With `If-None-Match` the "
        "answer is sent as soon as the task differs from that one, so that no change is missed "
        "between two requests. The status of a task that has ended is sent at once.",
        examples=[30],
    ),
]
IfNoneMatch = Annotated[
    str | None, Header(max_length=1_000, description="The `ETag` of an earlier answer.")
]
LastEventId = Annotated[
    str | None,
    Header(
        pattern=r"^\d{1,9}$",
        description="The `id` of the last event received; the log goes on after it.",
    ),
]


@router.get(
    "/status/{task_id}",
    operation_id="readTaskStatus",
    dependencies=[reader],
    response_model=AnyTaskStatus,
    responses={304: {"description": "The task has not changed since `If-None-Match`."}},
)
async def status(
    request: Request,
    task_id: TaskId,
    user: CurrentUser,
    subscriptions: Following,
    wait: Wait = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read a task's status, and its result for a day after its end."""
    known = negotiation.tags(if_none_match)
    deadline: Deadline = request.app.state.deadline
    found = subscriptions.snapshots.kept(task_id)
    if found is None:
        reading = subscriptions.snapshots.read(task_id)
        found = await deadline.answer(reading, request.app.state.runner.is_busy)
    snapshot = found.seen_by(user.name)
    if wait and not snapshot.task.ended and (not known or snapshot.etag in known):
        with subscriptions.follow(task_id, user.name) as followed:
            waiting = _until_changed(subscriptions, followed, snapshot, known, wait, user.name)
            snapshot = await unless_disconnected(request, waiting) or snapshot
    return _answer(snapshot, known)


async def _until_changed(
    subscriptions: Subscriptions,
    followed: FollowedTask,
    snapshot: Snapshot,
    known: frozenset[str],
    seconds: float,
    user: str,
) -> Snapshot:
    """The task once it differs from `known`, or from its present state."""
    try:
        async with asyncio.timeout(seconds):
            snapshot = (await followed.read_now()).seen_by(user)
            known = known or frozenset({snapshot.etag})
            while snapshot.etag in known and not snapshot.task.ended and not subscriptions.closing:
                await followed.changed.wait()
                snapshot = followed.current().seen_by(user)
    except TimeoutError:
        pass
    return snapshot


def _answer(snapshot: Snapshot, known: frozenset[str]) -> Response:
    headers = {"ETag": snapshot.etag, "Cache-Control": "private, no-cache"}
    if not snapshot.task.ended:
        headers["Retry-After"] = _POLL_SECONDS
    if snapshot.etag in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(snapshot.body, headers=headers, media_type="application/json")


class EventStream(StreamingResponse):
    """Server-sent events, for a limited time; the first is known already."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, others: AsyncGenerator[bytes]) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield first
            async for event in others:
                yield event

        self._others = others
        super().__init__(
            content(), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        async with asyncio.timeout(LIFE_SECONDS + _SLOWEST_CLIENT_SECONDS), aclosing(self._others):
            await super().__call__(scope, receive, send)


_EXAMPLE: Final = """\
id: 0
event: status
data: {"task_id":"0196f3f4-8f7a-7c3e-9d53-0c2f5a7e9b10","status":"started",...}

id: 1
event: line
data: {"number":1,"at":"2022-12-28T22:00:05Z","level":"info","text":"21 of 21 symbols are due"}

id: 1
event: end
data: {"reason":"the task has ended"}
"""


@router.get(
    "/status/{task_id}/events",
    operation_id="followTask",
    dependencies=[reader],
    status_code=HTTPStatus.OK,
    response_class=EventStream,
    responses={
        200: {
            "description": "`status` (an `AnyTaskStatus`: at once, and on every change), `line` "
            "(a `TaskLine`, of the task's log), `unavailable` (Prefect or the database does not "
            "answer; the stream stays open), `end`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
async def events(
    request: Request,
    task_id: TaskId,
    user: CurrentUser,
    subscriptions: Following,
    last_event_id: LastEventId = None,
) -> Response:
    """Stream a task's events until it has ended, for 15 minutes at most; then connect again.

    A browser's `EventSource` cannot send the token; `fetch` can, and reads the stream.
    """
    stream = _events(subscriptions, task_id, user.name, int(last_event_id or 0))
    # Before anything is sent, so that an unknown task is a 404.
    deadline: Deadline = request.app.state.deadline
    first = await deadline.answer(anext(stream), request.app.state.runner.is_busy)
    return EventStream(first, stream)


async def _events(
    subscriptions: Subscriptions, task_id: TaskId, user: str, after: int
) -> AsyncGenerator[bytes]:
    """The events; `after` is the number of the last line that the client has."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + LIFE_SECONDS
    with subscriptions.follow(task_id, user, lines=True) as followed:
        await followed.read_now()
        yield format_sse_event(retry=_RECONNECT_MILLISECONDS)
        feed = EventFeed(followed, after, user)
        while True:
            changed = followed.changed
            for event in feed.new_events():
                yield event
            if reason := _end_reason(subscriptions, followed, ends_at - loop.time(), user):
                yield feed.event("end", json.dumps({"reason": reason}))
                return
            try:
                async with asyncio.timeout(min(HEARTBEAT_SECONDS, ends_at - loop.time())):
                    await changed.wait()
            except TimeoutError:
                yield format_sse_event(comment="keep-alive")


def _end_reason(
    subscriptions: Subscriptions, followed: FollowedTask, seconds_left: float, user: str
) -> str | None:
    if followed.error is None and followed.snapshot is None:
        return "the task was deleted"
    if followed.error is None and followed.current().seen_by(user).task.ended:
        return "the task has ended"
    if subscriptions.closing or seconds_left <= 0:
        return "connect again"
    return None


class EventFeed:
    """What one client has not received yet."""

    def __init__(self, followed: FollowedTask, after: int, user: str) -> None:
        self._followed = followed
        self._user = user
        self._after = after
        self._shown = ""

    def new_events(self) -> Iterator[bytes]:
        """Events for what is new: the state first, then lines."""
        followed = self._followed
        if followed.error is not None:
            if self._shown != "error":
                detail = "Prefect or the database does not answer; earlier events may be outdated"
                yield self.event("unavailable", json.dumps({"detail": detail}))
            self._shown = "error"
            return
        snapshot = followed.snapshot and followed.snapshot.seen_by(self._user)
        if snapshot is not None and snapshot.etag != self._shown:
            self._shown = snapshot.etag
            yield self.event("status", snapshot.body.decode())
        for line in followed.lines[self._after :]:
            self._after = line.number
            yield self.event("line", TaskLine.of(line).model_dump_json())

    def event(self, name: str, data: str) -> bytes:
        """An event whose id is the number of the last line sent."""
        return format_sse_event(event=name, data_str=data, id=str(self._after))
