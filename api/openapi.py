"""The contract: what each endpoint needs, and every error it can answer with, with examples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.auth.tokens import Scope
from api.problems import MEDIA_TYPE, NAMESPACE, ProblemDetails
from api.routes.dependencies import Permission
from api.schemas import TaskLine
from api.server.middleware import LARGEST_BODY_BYTES, LARGEST_HEAD_BYTES
from autoindex.reports.mail import links

DESCRIPTION: Final = """\
Starts, follows and cancels the background tasks that keep the index up to date.

Every request but `/health` and `/ready` carries a bearer token. Errors are problem+json (RFC 9457).
"""
TAGS: Final = [
    {"name": "background tasks", "description": "Start a task, follow it, cancel it."},
    {"name": "index", "description": "Levels, allocations and performance metrics."},
    {"name": "reports", "description": "The files that report tasks have made."},
    {"name": "webhooks", "description": "Be told of events, by Standard Webhooks."},
    {"name": "audit", "description": "Who did what, and when."},
    {"name": "health", "description": "Whether the facade answers, and whether tasks can run."},
    {"name": "monitoring", "description": "What Prometheus scrapes."},
]
_OPEN: Final = frozenset({"/health", "/ready"})
_BATCH_STARTS: Final = ("/api/v1/background/cancel", "/api/v1/background/retry")
_SCHEME: Final = "HTTPBearer"


@dataclass(frozen=True, slots=True)
class _Error:
    """One error: when it occurs, what it says, and which headers it carries."""

    status: HTTPStatus
    description: str
    detail: str
    headers: tuple[str, ...] = ()
    type: str = "about:blank"
    errors: list[dict[str, str]] = field(default_factory=list)

    @property
    def response(self) -> dict[str, Any]:
        """The response object of OpenAPI."""
        example: dict[str, Any] = {
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "type": self.type,
        }
        if self.errors:
            example["errors"] = self.errors
        schema = {"$ref": "#/components/schemas/ProblemDetails"}
        described: dict[str, Any] = {
            "description": self.description,
            "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
        }
        if self.headers:
            described["headers"] = {name: HEADERS[name] for name in self.headers}
        return described


def _header(description: str, example: object, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}, "example": example}


HEADERS: Final = {
    "Location": _header(
        "Where the task's status is.",
        "/api/v1/background/status/0196f3f4-8f7a-7c3e-9d53-0c2f5a7e9b10",
    ),
    "Link": _header(
        "The next page, by a cursor (RFC 8288); absent on the last page, and on pages by `page` "
        "after the first.",
        '</api/v1/background/tasks?per_page=50&cursor=eyJmaWx0ZXJzIjoiN2Jm>; rel="next"',
    ),
    "Retry-After": _header("Seconds to wait before the next try.", 17, "integer"),
    "RateLimit-Limit": _header("Requests of this kind within a minute.", 600, "integer"),
    "RateLimit-Remaining": _header("How many of them are left.", 0, "integer"),
    "RateLimit-Reset": _header("Seconds until one more is allowed.", 17, "integer"),
    "WWW-Authenticate": _header("The kind of token that is required.", 'Bearer realm="autoindex"'),
}
_RATE: Final = ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")

_ALWAYS: Final = (
    _Error(
        HTTPStatus.REQUEST_TIMEOUT,
        "The body took too long to arrive.",
        "the body took too long to arrive",
    ),
    _Error(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body is too large.",
        f"a body may have {LARGEST_BODY_BYTES:,} bytes at most",
    ),
    _Error(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The address and the headers are too large.",
        f"address and headers may have {LARGEST_HEAD_BYTES:,} bytes at most",
    ),
    _Error(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "An unexpected error in the facade.",
        "An unexpected error in the facade; see its log",
    ),
    _Error(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Prefect or the token's issuer (`…:part-unavailable`) or the database "
        "(`…:database-unavailable`) does not answer, or in time (`…:timeout`, `…:overload`), or "
        "something is missing (`…:not-ready`); try again after `Retry-After` seconds. A start "
        "that may have queued its task all the same is `…:outcome-unknown`: repeat it unchanged.",
        "Prefect does not answer; try again soon",
        headers=("Retry-After",),
        type=f"{NAMESPACE}part-unavailable",
    ),
)
_UNAUTHORIZED: Final = _Error(
    HTTPStatus.UNAUTHORIZED,
    "The token is missing, expired, or not for this service.",
    "the token has expired",
    headers=("WWW-Authenticate",),
)
_TOO_MANY: Final = _Error(
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests within a minute (`…:rate-limit`), or at once (`…:too-many-at-once`).",
    "more than 600 requests of this kind within a minute; the next one fits in 17 s",
    headers=_RATE,
    type=f"{NAMESPACE}rate-limit",
)
_QUEUE_FULL: Final = _Error(
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests within a minute (`…:rate-limit`), or at once (`…:too-many-at-once`), or "
    "too many tasks of this kind wait to begin (`…:queue-full`).",
    "1,000 refresh tasks wait to begin already; try again when some of them have begun",
    headers=_RATE,
    type=f"{NAMESPACE}queue-full",
)
_UNPROCESSABLE: Final = _Error(
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "A field is not valid (`…:invalid-field`), a symbol is not in the universe "
    "(`…:unknown-symbol`), or the body is not JSON as we read it (`…:invalid-body`); `errors` "
    "names it.",
    "strategy: Input should be 'composite', 'equal_weight' or 'market_cap'",
    errors=[
        {
            "field": "strategy",
            "message": "Input should be 'composite', 'equal_weight' or 'market_cap'",
        }
    ],
    type=f"{NAMESPACE}invalid-field",
)
_WRONG_TYPE: Final = _Error(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "The body is not sent as `application/json`.",
    "send the body as JSON, with the header Content-Type: application/json",
)
_TWO_KEYS: Final = _Error(
    HTTPStatus.BAD_REQUEST, "There are two Idempotency-Keys.", "send one Idempotency-Key header"
)
_UNKNOWN: Final = _Error(
    HTTPStatus.NOT_FOUND, "No task has this id.", "there is no task with this id"
)
_NO_BATCH: Final = _Error(
    HTTPStatus.NOT_FOUND, "No batch has this id.", "there is no batch with this id"
)
_NO_PREVIEW: Final = _Error(
    HTTPStatus.CONFLICT,
    "There is no token of a preview (`…:no-preview`), it is of another request "
    "(`…:other-preview`), or too many tasks match (`…:too-many-tasks`).",
    "this token is of another request; send the same fields as in its preview",
    type=f"{NAMESPACE}other-preview",
)
_NO_QUEUE: Final = _Error(
    HTTPStatus.NOT_FOUND, "No queue has this name.", "there is no queue with this name"
)
_NO_WEBHOOK: Final = _Error(
    HTTPStatus.NOT_FOUND,
    "You have no webhook with this id, or it has no such delivery.",
    "you have no webhook with this id, or it has no such delivery",
)
_WEBHOOK_REFUSED: Final = _Error(
    HTTPStatus.CONFLICT,
    "You have a webhook with this URL (`…:webhook-exists`), or as many as you may have "
    "(`…:too-many-webhooks`).",
    "you have a webhook with this url; delete it to get another secret",
    type=f"{NAMESPACE}webhook-exists",
)
_NOT_ACCEPTABLE: Final = _Error(
    HTTPStatus.NOT_ACCEPTABLE,
    "No media type in `Accept` is offered.",
    "there is application/json or text/csv here; name one in Accept",
)
_KEY_REUSED: Final = _Error(
    HTTPStatus.CONFLICT,
    "The Idempotency-Key was used with another request.",
    "this Idempotency-Key was used with another request; give every request a key of its own",
    type=f"{NAMESPACE}idempotency-key-reused",
)
_ENDED: Final = _Error(
    HTTPStatus.CONFLICT,
    "The task has ended: there is nothing to cancel.",
    "the task has ended already: success",
    type=f"{NAMESPACE}task-ended",
)
_NOT_RETRIED: Final = _Error(
    HTTPStatus.CONFLICT,
    "The task has not ended (`…:task-not-ended`), or was retried with other parameters "
    "(`…:retried-differently`).",
    "only a task that has ended can be retried; its status is started",
    type=f"{NAMESPACE}task-not-ended",
)
_BAD_LINK: Final = _Error(
    HTTPStatus.FORBIDDEN,
    "The link is forged or has expired.",
    "the link has expired; ask the app for the report",
)


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Have the application describe every error, scope, header and link."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, _permissions(routers))
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _permissions(routers: Sequence[APIRouter]) -> dict[str, tuple[Scope, ...]]:
    """The scopes of each operation; one of them is enough."""
    routes = [route for router in routers for route in router.routes]
    return {
        route.operation_id or route.name: dependency.dependency.scopes
        for route in routes
        if isinstance(route, APIRoute)
        for dependency in route.dependencies
        if isinstance(dependency.dependency, Permission)
    }


def _described(app: FastAPI, permissions: dict[str, tuple[Scope, ...]]) -> dict[str, Any]:
    contract: dict[str, Any] = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=TAGS,
        servers=[{"url": "/", "description": "The facade that serves this description."}],
    )
    schemas = contract["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs") | {"ProblemDetails": problem}
    # Sent in a stream of events, whose form OpenAPI 3.1 can only describe in words.
    schemas["TaskLine"] = TaskLine.model_json_schema()
    for path, method, operation in _operations(contract):
        for parameter in operation.get("parameters", ()):
            _drop_null(parameter)
        scopes = permissions.get(operation["operationId"], ())
        if scopes:
            # Alternatives are items of their own; the scopes of one item are required together.
            operation["security"] = [{_SCHEME: [scope]} for scope in scopes]
        for error in _errors(path, method, operation, scopes):
            operation["responses"][str(error.status.value)] = error.response
        if "cursor" in (parameter["name"] for parameter in operation.get("parameters", ())):
            shown = operation["responses"]["200"]
            shown["headers"] = {**shown.get("headers", {}), "Link": HEADERS["Link"]}
        if "202" in operation["responses"] and method == "post":
            _point_to_the_task(operation["responses"]["202"])
    return contract


def _drop_null(parameter: dict[str, Any]) -> None:
    """A header or query parameter cannot be null, only missing."""
    schema = parameter["schema"]
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        schema.pop("anyOf")
        schema |= choices[0]


def _operations(contract: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in contract["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _errors(
    path: str, method: str, operation: dict[str, Any], scopes: Sequence[Scope]
) -> Iterator[_Error]:
    yield from _ALWAYS
    if "requestBody" in operation or "parameters" in operation:
        yield _UNPROCESSABLE
    if "requestBody" in operation:
        yield _WRONG_TYPE
    yield from _not_found(path)
    if path == links.PATH:
        yield _BAD_LINK
    if path in _OPEN or path == links.PATH:
        return
    starts = "202" in operation["responses"] and method == "post"
    yield _UNAUTHORIZED
    cancels = method == "delete" and "{task_id}" in path
    yield _forbidden(scopes, owned=cancels or path.endswith(("/file", "/retry")))
    yield _QUEUE_FULL if starts else _TOO_MANY
    if "/index/" in path or path.endswith("/audit"):
        yield _NOT_ACCEPTABLE
    yield from _conflicts(path, operation, cancels=cancels, starts=starts)


def _conflicts(
    path: str, operation: dict[str, Any], *, cancels: bool, starts: bool
) -> Iterator[_Error]:
    if cancels:
        yield _ENDED
    elif "201" in operation["responses"]:
        yield _WEBHOOK_REFUSED
    elif path.endswith("{task_id}/retry"):
        yield _NOT_RETRIED
    elif path in _BATCH_STARTS:
        yield _NO_PREVIEW
    elif starts:
        yield _KEY_REUSED
        yield _TWO_KEYS


def _not_found(path: str) -> Iterator[_Error]:
    if "{task_id}" in path or path == links.PATH:
        yield _UNKNOWN
    if "{batch_id}" in path or path in _BATCH_STARTS:
        yield _NO_BATCH
    if "{name}" in path:
        yield _NO_QUEUE
    if "{webhook_id}" in path:
        yield _NO_WEBHOOK


def _forbidden(scopes: Sequence[Scope], *, owned: bool) -> _Error:
    whose = ", or the task is another user's and the scope `tasks:admin` is missing"
    return _Error(
        HTTPStatus.FORBIDDEN,
        f"The token lacks the scope {' or '.join(f'`{scope}`' for scope in scopes)}"
        f"{whose if owned else ''}.",
        f"the token lacks the scope {' or '.join(scopes)}",
        headers=("WWW-Authenticate",),
    )


def _point_to_the_task(response: dict[str, Any]) -> None:
    response["headers"] = {"Location": HEADERS["Location"]}
    parameters = {"task_id": "$response.body#/task_id"}
    response["links"] = {
        "status": {"operationId": "readTaskStatus", "parameters": parameters},
        "cancel": {"operationId": "cancelTask", "parameters": parameters},
    }
