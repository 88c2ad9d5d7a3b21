"""Every error as problem+json (RFC 9457), from one place."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from api.auth.rate_limits import Allowance, TooManyRequests
from api.slots import TooManyAtOnce
from api.tasks.batches import MOST_TASKS, BatchUnknown, TooManyTasks
from api.tasks.queue_limit import QueueFull
from api.tasks.runner import (
    OutcomeUnknown,
    Overload,
    TaskFinished,
    TaskNotEnded,
    TaskUnknown,
)
from api.tasks.subscriptions import TooManyFollowers
from api.tasks.work_pool import QueueUnknown
from autoindex.errors import InvalidRequest, PartUnavailable, UnknownSymbols
from autoindex.masking import masked
from autoindex.storage.postgres.transient import UNAVAILABLE
from autoindex.storage.webhooks.endpoints import (
    MOST,
    TooManyWebhooks,
    WebhookExists,
    WebhookUnknown,
)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5
# A request that could have more is refused before validation (see `guarded_route`, and each
# list's `fail_fast`).
MOST_ERRORS: Final = 20
NAMESPACE: Final = "urn:problem-type:autoindex:"
# About as long as a few tasks take.
_QUEUE_FULL_SECONDS: Final = 30

log = logging.getLogger("autoindex.api")


class FieldError(BaseModel):
    """One field that is not valid."""

    field: str = Field(description="Where it is.", examples=["symbols.0"])
    message: str = Field(description="What is wrong with it.", examples=["Field required"])


class ProblemDetails(BaseModel):
    """A problem in the form of RFC 9457."""

    title: str = Field(description="The kind of problem.", examples=["Unprocessable Entity"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What happened this time.", examples=["symbols.0: malformed"])
    type: str = Field(
        description="Tells problems of one status apart; it does not change, so compare it. "
        "`about:blank` where the status says enough.",
        examples=["about:blank", f"{NAMESPACE}queue-full"],
    )
    errors: list[FieldError] | None = Field(
        default=None, description="The fields that are not valid, where the problem is a field."
    )


class Problem(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = "about:blank" if name is None else NAMESPACE + name
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    @property
    def response(self) -> Response:
        """The answer, in ASCII: a client may send any name as a field's."""
        problem: dict[str, Any] = {
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": masked(self.detail),
            "type": self.type,
        }
        if self.errors:
            problem["errors"] = [error.model_dump() for error in self.errors]
        return Response(
            json.dumps(problem), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


def unprocessable(errors: Sequence[FieldError], name: str = "invalid-field") -> Problem:
    """A body or a parameter that is not valid."""
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors[:3])
    more = len(errors) - 3
    if more > 0:
        detail += f"; and {more} more"
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors, name=name)


def forbidden(detail: str, *scopes: str) -> Problem:
    """What the user may not do without one of these scopes."""
    lacking = challenge("insufficient_scope", " ".join(scopes))
    return Problem(HTTPStatus.FORBIDDEN, detail, headers=lacking)


def unavailable(detail: str, name: str) -> Problem:
    """A part that the facade needs does not answer."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers, name=name)


def rate(allowance: Allowance) -> dict[str, str]:
    """The headers that say what is left of a limit."""
    return {
        "RateLimit-Limit": str(allowance.limit),
        "RateLimit-Remaining": str(allowance.remaining),
        "RateLimit-Reset": str(allowance.reset_seconds),
    }


def too_many(refused: TooManyRequests) -> Problem:
    """More requests than the limit."""
    seconds = refused.retry_after_seconds
    headers = {"Retry-After": str(seconds), **rate(Allowance(refused.limit, 0, seconds))}
    status = HTTPStatus.TOO_MANY_REQUESTS
    return Problem(status, str(refused), headers=headers, name="rate-limit")


def _unsure(what: str) -> Response:
    return unavailable(
        f"{what}, and the task may have been queued; repeat the same request with the same "
        "Idempotency-Key, or without one if it had none, and there is one task",
        "outcome-unknown",
    ).response


def unexpected() -> Problem:
    """An unexpected error; the log has its traceback."""
    detail = "An unexpected error in the facade; see its log"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def install(app: FastAPI) -> None:
    """Answer every error in this form."""
    handlers: dict[Any, Any] = {
        Problem: _problem,
        HTTPException: _http,
        RequestValidationError: _validation,
        InvalidRequest: _invalid_request,
        TooManyRequests: _too_many,
        QueueFull: _queue_full,
        TooManyAtOnce: _too_many_at_once,
        TaskUnknown: _task_unknown,
        QueueUnknown: _queue_unknown,
        BatchUnknown: _batch_unknown,
        TooManyTasks: _too_many_tasks,
        WebhookUnknown: _webhook_unknown,
        WebhookExists: _webhook_exists,
        TooManyWebhooks: _too_many_webhooks,
        TaskFinished: _task_finished,
        TaskNotEnded: _task_not_ended,
        TooManyFollowers: _too_many_followers,
        Overload: _overload,
        OutcomeUnknown: _outcome_unknown,
        PartUnavailable: _part_unavailable,
        **dict.fromkeys(UNAVAILABLE, _database),
        TimeoutError: _too_slow,
        Exception: _unexpected,
    }
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)


async def _problem(_: Request, problem: Problem) -> Response:
    return problem.response


async def _http(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}",
    }
    detail = details.get(status, str(error.detail))
    headers = {**(error.headers or {})}
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(_allowed(request)))
    return Problem(status, detail, headers=headers).response


def _allowed(request: Request) -> set[str]:
    """The methods of a path: Starlette names those of its first route only."""

    def fits(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    methods = {method for method in ("DELETE", "GET", "POST") if fits(method)}
    return methods | {"HEAD"} if "GET" in methods else methods


async def _validation(_: Request, error: RequestValidationError) -> Response:
    return unprocessable([_field_error(found) for found in error.errors()]).response


def _field_error(found: Mapping[str, Any]) -> FieldError:
    # The first element is the value's place: the body, the path, the query or a header.
    where = [str(part)[:100] for part in found["loc"]]
    field = ".".join(where[1:]) or where[0]
    return FieldError(field=field, message=found["msg"].removeprefix("Value error, "))


async def _invalid_request(_: Request, error: InvalidRequest) -> Response:
    name = "unknown-symbol" if isinstance(error, UnknownSymbols) else "invalid-field"
    return unprocessable([FieldError(field=error.field, message=error.reason)], name).response


async def _too_many(_: Request, error: TooManyRequests) -> Response:
    return too_many(error).response


async def _queue_full(_: Request, error: QueueFull) -> Response:
    headers = {"Retry-After": str(_QUEUE_FULL_SECONDS)}
    status = HTTPStatus.TOO_MANY_REQUESTS
    return Problem(status, str(error), headers=headers, name="queue-full").response


async def _too_many_at_once(_: Request, error: TooManyAtOnce) -> Response:
    status = HTTPStatus.TOO_MANY_REQUESTS
    return Problem(
        status, str(error), headers={"Retry-After": "1"}, name="too-many-at-once"
    ).response


async def _task_unknown(_: Request, __: TaskUnknown) -> Response:
    return Problem(HTTPStatus.NOT_FOUND, "there is no task with this id").response


def challenge(error: str | None = None, scope: str | None = None) -> dict[str, str]:
    """The header that says what a request's token lacks: RFC 6750, section 3."""
    given = {"realm": "autoindex", "error": error, "scope": scope}
    words = [f'{name}="{value}"' for name, value in given.items() if value is not None]
    return {"WWW-Authenticate": f"Bearer {', '.join(words)}"}


async def _queue_unknown(_: Request, __: QueueUnknown) -> Response:
    return Problem(HTTPStatus.NOT_FOUND, "there is no queue with this name").response


async def _batch_unknown(_: Request, __: BatchUnknown) -> Response:
    return Problem(HTTPStatus.NOT_FOUND, "there is no batch with this id").response


async def _too_many_tasks(_: Request, __: TooManyTasks) -> Response:
    detail = f"more than {MOST_TASKS:,} tasks match; narrow the filter"
    return Problem(HTTPStatus.CONFLICT, detail, name="too-many-tasks").response


async def _webhook_unknown(_: Request, __: WebhookUnknown) -> Response:
    detail = "you have no webhook with this id, or it has no such delivery"
    return Problem(HTTPStatus.NOT_FOUND, detail).response


async def _webhook_exists(_: Request, __: WebhookExists) -> Response:
    detail = "you have a webhook with this url; delete it to get another secret"
    return Problem(HTTPStatus.CONFLICT, detail, name="webhook-exists").response


async def _too_many_webhooks(_: Request, __: TooManyWebhooks) -> Response:
    detail = f"you have {MOST} webhooks, which is the most; delete one first"
    return Problem(HTTPStatus.CONFLICT, detail, name="too-many-webhooks").response


async def _task_finished(_: Request, error: TaskFinished) -> Response:
    return Problem(HTTPStatus.CONFLICT, str(error), name="task-ended").response


async def _task_not_ended(_: Request, error: TaskNotEnded) -> Response:
    return Problem(HTTPStatus.CONFLICT, str(error), name="task-not-ended").response


async def _too_many_followers(_: Request, __: TooManyFollowers) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    detail = "too many requests wait for tasks to change; read /status without `wait`"
    status = HTTPStatus.TOO_MANY_REQUESTS
    return Problem(status, detail, headers=headers, name="too-many-followers").response


async def _overload(_: Request, error: Overload) -> Response:
    return unavailable(f"{error}; try again soon", "overload").response


async def _outcome_unknown(_: Request, error: OutcomeUnknown) -> Response:
    log.warning("%s", error, exc_info=error)
    return _unsure(str(error))


async def _part_unavailable(_: Request, error: PartUnavailable) -> Response:
    log.warning("%s", error, exc_info=error)
    return unavailable(f"{error}; try again soon", "part-unavailable").response


async def _database(_: Request, error: Exception) -> Response:
    log.warning("the database does not answer", exc_info=error)
    detail = "The database does not answer; try again soon"
    return unavailable(detail, "database-unavailable").response


async def _too_slow(request: Request, error: TimeoutError) -> Response:
    log.warning("a request took too long", exc_info=error)
    if request.method == "POST":  # it may have started the task
        return _unsure("This took too long")
    return unavailable("This took too long; try again soon", "timeout").response


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return unexpected().response
