"""The sandbox's own switches, under `/sandbox`, which change the provider's responses."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.faults import Fault, Faults
from sandbox.meter import Meter, Plan
from sandbox.sample_prices import Split
from sandbox.state import Sandbox

Handler = Callable[[Request], Awaitable[Response]]

_FAULTS = TypeAdapter(list[Fault])
_SPLITS = TypeAdapter(dict[str, Split])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Clock(_Strict):
    now: AwareDatetime


class _Keys(_Strict):
    refused: list[str] = Field(default_factory=list)


class _Errors(_Strict):
    as_200: bool


def routes(sandbox: Sandbox) -> list[Route]:
    """Every switch of `sandbox`, and its health."""
    switches: dict[str, Callable[[Sandbox, bytes], None]] = {
        "clock": _set_clock,
        "plan": _set_plan,
        "faults": _set_faults,
        "splits": _set_splits,
        "keys": _set_keys,
        "errors": _set_errors,
    }
    return [
        Route("/health", _reader(lambda: {"status": "ok", "symbols": len(sandbox.listings)})),
        Route("/sandbox", _reader(sandbox.summary), methods=["GET"]),
        Route("/sandbox", _resetter(sandbox), methods=["DELETE"]),
        Route("/sandbox/requests", _reader(lambda: _requests(sandbox)), methods=["GET"]),
        Route("/sandbox/requests", _forgetter(sandbox), methods=["DELETE"]),
        *(
            Route(f"/sandbox/{name}", _switch(sandbox, change), methods=["PUT"])
            for name, change in switches.items()
        ),
    ]


def _set_clock(sandbox: Sandbox, body: bytes) -> None:
    sandbox.clock = _Clock.model_validate_json(body).now


def _set_plan(sandbox: Sandbox, body: bytes) -> None:
    # A new meter, too: credits spent under the old plan do not count.
    sandbox.meter = Meter(Plan.model_validate_json(body))


def _set_faults(sandbox: Sandbox, body: bytes) -> None:
    sandbox.faults = Faults(_FAULTS.validate_json(body))


def _set_splits(sandbox: Sandbox, body: bytes) -> None:
    sandbox.splits = {name.upper(): one for name, one in _SPLITS.validate_json(body).items()}


def _set_keys(sandbox: Sandbox, body: bytes) -> None:
    sandbox.refused_keys = frozenset(_Keys.model_validate_json(body).refused)


def _set_errors(sandbox: Sandbox, body: bytes) -> None:
    sandbox.errors_as_200 = _Errors.model_validate_json(body).as_200


def _requests(sandbox: Sandbox) -> dict[str, Any]:
    calls = [asdict(call) for call in sandbox.calls]
    credits_charged = sum(call["credits"] for call in calls)
    return {"count": len(calls), "credits": credits_charged, "requests": calls}


def _reader(read: Callable[[], Any]) -> Handler:
    async def answer(_: Request) -> Response:
        return JSONResponse(read())

    return answer


def _switch(sandbox: Sandbox, change: Callable[[Sandbox, bytes], None]) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            change(sandbox, await request.body())
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            return JSONResponse({"errors": problems}, 422)
        return JSONResponse(sandbox.summary())

    return answer


def _resetter(sandbox: Sandbox) -> Handler:
    async def answer(_: Request) -> Response:
        sandbox.reset()
        return JSONResponse(sandbox.summary())

    return answer


def _forgetter(sandbox: Sandbox) -> Handler:
    async def answer(_: Request) -> Response:
        sandbox.calls.clear()
        return JSONResponse(_requests(sandbox))

    return answer
