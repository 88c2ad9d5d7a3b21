"""A route that checks scope, body, slots and time before and around FastAPI's own handling."""

import json
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.problems import MOST_ERRORS, FieldError, Problem, unprocessable
from api.routes.dependencies import Permission
from api.tasks.deadline import Deadline, unless_disconnected

# Prefect's server renders a value with this key: jinja could then read its variables.
# https://docs.prefect.io/v3/concepts/variables, and prefect.utilities.schema_tools.hydration
TEMPLATE_KEY: Final = "__prefect_kind"
_JSON: Final = "application/json"
# Each unknown field is an error of its own: a body with more than can be reported is refused.
MOST_FIELDS: Final = MOST_ERRORS
# A request is one object with a list or two; each more costs time, for the garbage collector too.
_MOST_BRACKETS: Final = 100

# Only the log shows it; nginx uses the same.
CLIENT_CLOSED_REQUEST: Final = 499


class GuardedRoute(APIRoute):
    """A route that checks the scope, then the body, and answers in time.

    Only a few requests of one user are handled at once.
    """

    def is_busy(self, request: Request) -> bool:  # noqa: ARG002
        """Whether the answer may take longer because a part is busy."""
        return False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler, which parses the body before it checks the scope."""
        handle = super().get_route_handler()
        dependencies = [depends.dependency for depends in self.dependencies]
        permissions = [one for one in dependencies if isinstance(one, Permission)]
        # A route without a body does not read one: it may be one that needs no token.
        takes_body = self.body_field is not None

        async def guarded(request: Request) -> Response:
            for permission in permissions:
                await permission(request)
            if takes_body and (body := await request.body()):
                _check_type(request.headers.get("content-type", ""))
                check(body)
            user = getattr(request.state, "user", None)
            deadline: Deadline = request.app.state.deadline
            is_busy = partial(self.is_busy, request)
            if user is None:
                return await deadline.answer(handle(request), is_busy)

            async def in_slot() -> Response:
                async with request.app.state.slots.hold(user.name):
                    return await deadline.answer(handle(request), is_busy)

            if request.method != "GET":  # a change is not cancelled halfway
                return await in_slot()
            return await unless_disconnected(request, in_slot()) or Response(
                status_code=CLIENT_CLOSED_REQUEST
            )

        return guarded


class TaskRoute(GuardedRoute):
    """A route that needs the task runner."""

    def is_busy(self, request: Request) -> bool:
        """Whether the task runner is busy."""
        return bool(request.app.state.runner.is_busy())


def _check_type(sent: str) -> None:
    if sent.partition(";")[0].strip().lower() != _JSON:
        detail = f"send the body as JSON, with the header Content-Type: {_JSON}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept": _JSON})


def check(body: bytes) -> None:
    """Raise a 422 for a body that is not JSON, or that contains what no request may."""
    if body.count(b"[") + body.count(b"{") > _MOST_BRACKETS:
        raise _refused("body", f"more than {_MOST_BRACKETS} lists and objects")
    try:
        json.loads(body, object_pairs_hook=_check_object)
    except json.JSONDecodeError as problem:
        raise _refused("body", f"not JSON: {problem}") from None
    except UnicodeDecodeError:
        raise _refused("body", "not UTF-8, as JSON has to be") from None
    except ValueError:
        raise _refused("body", "contains a number with too many digits") from None


def _check_object(members: Sequence[tuple[str, object]]) -> None:
    if len(members) > MOST_FIELDS:
        raise _refused("body", f"more than {MOST_FIELDS} fields in one object")
    names = [name for name, _ in members]
    if TEMPLATE_KEY in names:
        raise _refused(TEMPLATE_KEY, "not allowed anywhere")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _refused(twice[:100], "is in one object twice; send it once")


def _refused(field: str, message: str) -> Problem:
    return unprocessable([FieldError(field=field, message=message)], "invalid-body")
