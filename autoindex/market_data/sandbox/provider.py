"""The provider's side of the sandbox: who may call, what it costs, what goes wrong."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from autoindex.market_data.sandbox import errors, faults, forms
from autoindex.market_data.sandbox.endpoints import ENDPOINTS, Asked, Endpoint
from autoindex.market_data.sandbox.errors import ApiError
from autoindex.market_data.sandbox.faults import Fault
from autoindex.market_data.sandbox.query import Query
from autoindex.market_data.sandbox.state import Call, Sandbox


@dataclass(frozen=True, slots=True)
class _Call:
    path: str
    query: Query
    key: str
    symbols: list[str]
    faults: list[Fault]


class Provider:
    """Answers as Twelve Data does, or as the faults that are switched on have it answer."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        call = self._read(request)
        for fault in call.faults:
            if fault.kind == "delay":
                await asyncio.sleep(fault.seconds)
        response, cost = self._answer(call)
        self._sandbox.calls.append(self._record(request, call, cost, response.status_code))
        await response(scope, receive, send)

    def _read(self, request: Request) -> _Call:
        query = Query(request.query_params)
        symbols = query.symbols()
        striking = self._sandbox.faults.strike(request.url.path, symbols)
        return _Call(request.url.path, query, _key(request, query), symbols, striking)

    def _answer(self, call: _Call) -> tuple[Response, int]:
        cost = 0
        try:
            endpoint = self._admit(call)
            cost = endpoint.cost(call.symbols)
            self._sandbox.meter.charge(call.key, cost, self._sandbox.wall_clock())
            asked = Asked(self._sandbox, call.query, call.key, tuple(call.faults))
            response = forms.formatted(endpoint.answer(asked), call.query)
        except ApiError as error:
            status = 200 if self._sandbox.errors_as_200 else error.code
            response = forms.as_json(error.body(), status)
        response = forms.broken(response, call.faults)
        now = self._sandbox.wall_clock()
        response.headers.update(self._sandbox.meter.headers(call.key, cost, now))
        if len(call.symbols) > 1:
            response.headers["Is_batch"] = "true"
        return response, cost

    def _record(self, request: Request, call: _Call, cost: int, status: int) -> Call:
        return Call(
            at=self._sandbox.wall_clock().isoformat(timespec="milliseconds"),
            path=call.path,
            parameters={k: v for k, v in request.query_params.items() if k.lower() != "apikey"},
            symbols=call.symbols,
            credits=cost,
            status=status,
        )

    def _admit(self, call: _Call) -> Endpoint:
        endpoint = ENDPOINTS.get(call.path)
        if endpoint is None:
            raise ApiError(404, f"The sandbox has no {call.path}; see docs/sandbox.md")
        if endpoint.needs_key and (not call.key or call.key in self._sandbox.refused_keys):
            raise errors.bad_key()
        for fault in call.faults:
            error = faults.call_error(fault.kind, call.path, self._sandbox.meter.plan)
            if error is not None:
                raise error
        endpoint.check(call.symbols)
        return endpoint


def _key(request: Request, query: Query) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "apikey" else query.text("apikey")
