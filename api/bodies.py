"""Bodies looked at before they are validated: what no request may hold, wherever it stands."""

import json
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.in_time import InTime
from api.problems import MOST_ERRORS, FieldError, unprocessable

# Prefect's server renders a value with this key: jinja could then read its variables.
# https://docs.prefect.io/v3/concepts/variables, and prefect.utilities.schema_tools.hydration
TEMPLATE_KEY: Final = "__prefect_kind"


class GuardedRoute(APIRoute):
    """A route that refuses templates in a body, and answers in time.

    Few requests of one user are handled at once.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap what FastAPI would call."""
        handle = super().get_route_handler()
        in_time: InTime[Response] = InTime()

        async def guarded(request: Request) -> Response:
            body = await request.body()
            if body:
                refuse_templates(body)
            user = getattr(request.state, "user", None)
            if user is None:
                return await in_time.answer(handle(request))
            async with request.app.state.turns.of(user.name):
                return await in_time.answer(handle(request))

        return guarded


def refuse_templates(body: bytes) -> None:
    """Raise a 422 that names where a body is not JSON or holds `__prefect_kind`."""
    try:
        content = json.loads(body)
        found = [
            FieldError(field=where, message=_REFUSED)
            for where in islice(_templates(content, ""), MOST_ERRORS)
        ]
    except RecursionError:
        raise unprocessable([FieldError(field="body", message="nested too deeply")]) from None
    except ValueError as problem:
        raise unprocessable([FieldError(field="body", message=f"not JSON: {problem}")]) from None
    if found:
        raise unprocessable(found)


_REFUSED: Final = f"{TEMPLATE_KEY} is not allowed anywhere"


def _templates(content: object, where: str) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            here = f"{where}.{key[:100]}".lstrip(".")
            if key == TEMPLATE_KEY:
                yield here
            yield from _templates(value, here)
    elif isinstance(content, list):
        for position, value in enumerate(content):
            yield from _templates(value, f"{where}.{position}".lstrip("."))
