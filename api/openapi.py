"""The contract: every error each endpoint can answer with, and which need a token."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import MEDIA_TYPE, ProblemDetails

DESCRIPTION: Final = """\
Starts, follows and cancels the background tasks that keep the index up to date.

Every request but `/health` and `/ready` carries a bearer token. Errors are problem+json (RFC 9457).
"""

_EVERYWHERE: Final = {
    401: "The token is missing, expired, or not for this service.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    429: "Too many requests within a minute; `Retry-After` says when the next one fits.",
    500: "Something went wrong on our side.",
    503: "Prefect or the database does not answer; try again after `Retry-After` seconds.",
}
_FORBIDDEN: Final = {403: "The token lacks the scope this needs."}
_UNPROCESSABLE: Final = {422: "A field has to be mended; `errors` names it."}
_UNKNOWN: Final = {404: "There is none with this id."}
_NOT_ACCEPTABLE: Final = {406: "None of the media types in `Accept` is offered here."}
_CONFLICT: Final = {409: "It contradicts what was done before."}
_OPEN: Final = frozenset({"/health", "/ready"})


def install(app: FastAPI) -> None:
    """Let the application describe itself in full."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    contract: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = contract["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs") | {"ProblemDetails": problem}
    for path, method, operation in _operations(contract):
        for status, description in _errors(path, method, operation).items():
            operation["responses"][str(status)] = _problem(description)
    return contract


def _operations(contract: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in contract["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _errors(path: str, method: str, operation: dict[str, Any]) -> dict[int, str]:
    found = {**_EVERYWHERE}
    if path in _OPEN:
        return {status: text for status, text in found.items() if status not in (401, 429)}
    found |= _FORBIDDEN
    if "requestBody" in operation or "parameters" in operation:
        found |= _UNPROCESSABLE
    if "{task_id}" in path or path.endswith("/shared"):
        found |= _UNKNOWN
    if "/index/" in path:
        found |= _NOT_ACCEPTABLE
    if method in ("post", "delete"):
        found |= _CONFLICT
    return found


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
