"""What a worker and its runs do while Prefect or the database is unavailable.

The worker repeats what it has to do until it succeeds. A run repeats each request to Prefect for
ten minutes. The time of an outage counts on no run's time limit.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus
from typing import Final, TypeVar

import httpx
from prefect.context import SettingsContext, get_settings_context
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings, temporary_settings
from sqlalchemy.exc import SQLAlchemyError

from autoindex.storage.postgres.transient import LONGEST_OUTAGE_SECONDS, RETRY_SECONDS
from flows.attempts.transient_errors import NO_ANSWER, PrefectError
from worker import proxy_pages

_log = logging.getLogger("prefect.workers.autoindex")

DATABASE_ERRORS: Final = (SQLAlchemyError, OSError)
"""What a call of the database raises for a worker, its time-out included."""
CALL_ERRORS: Final = (PrefectError, *DATABASE_ERRORS)
"""What a call of Prefect or of the database raises for a worker."""

_WORKER_RETRY_SECONDS: Final = 2.0
# What a proxy answers that finds no server behind it.
_NO_SERVER: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE})
# While its database is unavailable Prefect answers 500 to everything, and a few times more from
# each connection that it had. A 500 that it answers while it is ready is a defect.
_MAX_ERRORS_WHILE_READY: Final = 5

R = TypeVar("R")


class Outages:
    """Adds up the time in which one part or another did not answer."""

    def __init__(self) -> None:
        self._past_seconds = 0.0
        self._since: float | None = None
        self._unavailable: set[str] = set()

    @property
    def seconds(self) -> float:
        """So far, the present outage included."""
        present = 0.0 if self._since is None else time.monotonic() - self._since
        return self._past_seconds + present

    def failed(self, part: str, asked_at: float) -> None:
        """Note that `part` has not answered since `asked_at`, by the monotonic clock."""
        self._unavailable.add(part)
        if self._since is None:
            self._since = asked_at

    def answered(self, part: str) -> None:
        """Note that it is available."""
        self._unavailable.discard(part)
        if not self._unavailable:
            self._past_seconds, self._since = self.seconds, None


async def until_available(call: Callable[[], Awaitable[R]], pending: str) -> R:
    """The result of `call`, however often it fails; `pending` is what the log says meanwhile."""
    while True:
        try:
            return await call()
        except CALL_ERRORS as error:
            _log.warning("%s: %s", pending, error)
            await asyncio.sleep(_WORKER_RETRY_SECONDS)


@contextmanager
def without_client_retries() -> Iterator[None]:
    """Within it Prefect's client sends a request once: the caller retries by itself."""
    with SettingsContext(profile=get_settings_context().profile, settings=_without_retries()):
        yield


@lru_cache(maxsize=1)
def _without_retries() -> Settings:
    # Made once: that takes Prefect longer than a request does.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        return get_settings_context().settings


class RetryingSend:
    """Sends a run's request to Prefect each second, for ten minutes of one outage.

    Prefect's client doubles its pauses, so that it would look again minutes after the server is
    back; it does not retry a first connection or a 500, and gives up a server that accepts requests
    and never answers after six time-outs. `ready` is a request to which only a server with a
    database answers yes.
    """

    def __init__(
        self, send: Callable[[httpx.Request], httpx.Response], ready: httpx.Request
    ) -> None:
        self._send = send
        self._ready = ready
        self._unavailable_since: float | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer; raises what `send` raises."""
        sent_at, errors_while_ready = time.monotonic(), 0
        while True:
            try:
                answer = self._ask(request)
            except NO_ANSWER:
                if self._is_over(sent_at):
                    raise
            else:
                if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
                    errors_while_ready += self._is_ready()
                if _is_final(answer, errors_while_ready):
                    self._unavailable_since = None
                    return answer
                if "retry-after" in answer.headers or self._is_over(sent_at):
                    return answer
                answer.close()
            time.sleep(RETRY_SECONDS)

    def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = self._send(request)
        proxy_pages.read(answer)
        return answer

    def _is_ready(self) -> bool:
        try:
            answer = self._ask(self._ready)
        except NO_ANSWER:
            return False
        answer.close()
        return answer.is_success

    def _is_over(self, sent_at: float) -> bool:
        """Whether the outage has lasted for too long."""
        if self._unavailable_since is None:
            self._unavailable_since = sent_at
        return time.monotonic() - self._unavailable_since > LONGEST_OUTAGE_SECONDS


def _is_final(answer: httpx.Response, errors_while_ready: int) -> bool:
    """Whether a server that has its database has answered so."""
    if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors_while_ready > _MAX_ERRORS_WHILE_READY
    return answer.status_code not in _NO_SERVER
