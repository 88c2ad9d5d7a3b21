"""Bodies looked at before they are validated: what no request may hold, wherever it stands."""

import json
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.in_time import InTime
from api.problems import MOST_ERRORS, FieldError, unprocessable

# Prefect's server renders a value with this key: jinja could then read its variables.
# https://docs.prefect.io/v3/concepts/variables, and prefect.utilities.schema_tools.hydration
TEMPLATE_KEY: Final = "__prefect_kind"
# As with the number of errors: a small body must not become an answer many times its size.
_LONGEST_WAY: Final = 300


class GuardedRoute(APIRoute):
    """A route that refuses templates in a body, and answers in time.

    Few requests of one user are handled at once.
    """

    def is_busy(self, request: Request) -> bool:  # noqa: ARG002
        """Whether the answer may take longer, since others are being served."""
        return False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap what FastAPI would call."""
        handle = super().get_route_handler()
        in_time: InTime[Response] = InTime()
        # What a route does not take it does not read: this may be one that needs no token.
        takes_body = self.body_field is not None

        async def guarded(request: Request) -> Response:
            if takes_body and (body := await request.body()):
                refuse_templates(body)
            user = getattr(request.state, "user", None)
            is_busy = partial(self.is_busy, request)
            if user is None:
                return await in_time.answer(handle(request), is_busy)
            async with request.app.state.turns.of(user.name):
                return await in_time.answer(handle(request), is_busy)

        return guarded


class TaskRoute(GuardedRoute):
    """A route that asks whoever runs the tasks."""

    def is_busy(self, request: Request) -> bool:
        """Whether that one serves others."""
        return bool(request.app.state.runner.is_busy())


def refuse_templates(body: bytes) -> None:
    """Raise a 422 that names where a body is not JSON or holds `__prefect_kind`."""
    try:
        content = json.loads(body)
        found = [
            FieldError(field=where, message=_REFUSED)
            for where in islice(_templates(content, []), MOST_ERRORS)
        ]
    except RecursionError:
        raise unprocessable([FieldError(field="body", message="nested too deeply")]) from None
    except ValueError as problem:
        raise unprocessable([FieldError(field="body", message=f"not JSON: {problem}")]) from None
    if found:
        raise unprocessable(found)


_REFUSED: Final = f"{TEMPLATE_KEY} is not allowed anywhere"


def _templates(content: object, way: list[str | int]) -> Iterator[str]:
    """Where the key stands in `content`, to which `way` leads.

    The way is written down only where the key is: a deep one takes longer than all the looking.
    """
    for step, value in _members(content):
        if step == TEMPLATE_KEY:
            yield _written([*way, step])
        if value and isinstance(value, dict | list):
            way.append(step)
            yield from _templates(value, way)
            way.pop()


def _members(content: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(content, dict):
        return content.items()
    return enumerate(content) if isinstance(content, list) else ()


def _written(way: Sequence[str | int]) -> str:
    return ".".join(str(step)[:100] for step in way)[:_LONGEST_WAY]
