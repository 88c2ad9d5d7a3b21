"""The provider's side of the sandbox: keys, credits, faults."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox import batch, connection, error_bodies, faults, forms
from sandbox.endpoints import ENDPOINTS, Asked, Body, Endpoint
from sandbox.error_bodies import ApiError
from sandbox.faults import Fault
from sandbox.query import Query
from sandbox.state import Call, Sandbox

_NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class _Call:
    path: str
    query: Query
    parameters: Mapping[str, str]
    key: str
    symbols: list[str]
    faults: list[Fault]


class Provider:
    """Responds as Twelve Data does, or as the faults that are switched on say."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.url.path == batch.PATH and request.method == "POST":
            response = await self._answer_batch(request)
        else:
            call = self._read(request.url.path, request.query_params, _key(request))
            await _delay(call)
            response = self._answer(call)
            if any(fault.kind == "dropped" for fault in call.faults):
                await connection.drop(scope, receive)
                return
        await response(scope, receive, send)

    def _read(self, path: str, parameters: Mapping[str, str], key: str) -> _Call:
        query = Query(parameters)
        symbols = query.symbols()
        striking = self._sandbox.faults.strike(path, symbols)
        return _Call(path, query, parameters, key, symbols, striking)

    def _answer(self, call: _Call) -> Response:
        try:
            body, cost = self._body(call)
            response = forms.formatted(body, call.query)
        except _Refused as refused:
            response, cost = self._error(refused.error), refused.cost
        except ApiError as error:  # an unknown format
            response = self._error(error)
        response = forms.broken(response, call.faults)
        response.headers.update(self._credit_headers(call.key, cost))
        if len(call.symbols) > 1:
            response.headers["Is_batch"] = "true"
        self._record(call, cost, response.status_code)
        return response

    def _body(self, call: _Call) -> tuple[Body, int]:
        """What the endpoint answers, and its cost; raises `_Refused`."""
        cost = 0
        try:
            endpoint = self._admit(call)
            cost = endpoint.cost(call.symbols)
            self._sandbox.meter.charge(call.key, cost, self._sandbox.wall_clock())
            asked = Asked(self._sandbox, call.query, call.key, tuple(call.faults))
            return endpoint.answer(asked), cost
        except ApiError as error:
            raise _Refused(error, cost) from error

    async def _answer_batch(self, request: Request) -> Response:
        """`POST /batch`: each part is a call of its own, and pays for itself."""
        key, total = _key(request), 0
        try:
            if not key:
                raise error_bodies.bad_key()
            answers = {}
            for name, part in batch.read(await request.body()).items():
                call = self._read(part.path, part.parameters, key)
                await _delay(call)
                try:
                    body, cost = self._body(call)
                    answers[name] = batch.answered(body)
                except _Refused as refused:
                    cost = refused.cost
                    answers[name] = batch.failed(refused.error)
                total += cost
                self._record(call, cost, 200)
            response = forms.as_json(batch.whole(answers))
        except ApiError as error:
            response = self._error(error)
        response.headers.update(self._credit_headers(key, total))
        return response

    def _error(self, error: ApiError) -> Response:
        status = 200 if self._sandbox.errors_as_200 else error.code
        return forms.as_json(error.body(), status)

    def _credit_headers(self, key: str, cost: int) -> dict[str, str]:
        return self._sandbox.meter.headers(key, cost, self._sandbox.wall_clock())

    def _record(self, call: _Call, cost: int, status: int) -> None:
        dropped = any(fault.kind == "dropped" for fault in call.faults)
        self._sandbox.calls.append(
            Call(
                at=self._sandbox.wall_clock().isoformat(timespec="milliseconds"),
                path=call.path,
                parameters={k: v for k, v in call.parameters.items() if k.lower() != "apikey"},
                symbols=call.symbols,
                credits=cost,
                status=_NO_ANSWER if dropped else status,
            )
        )

    def _admit(self, call: _Call) -> Endpoint:
        endpoint = ENDPOINTS.get(call.path)
        if endpoint is None:
            raise ApiError(404, f"The sandbox has no {call.path}; see docs/sandbox.md")
        if endpoint.needs_key and (not call.key or call.key in self._sandbox.refused_keys):
            raise error_bodies.bad_key()
        for fault in call.faults:
            error = faults.call_error(fault.kind, call.path, self._sandbox.meter.plan)
            if error is not None:
                raise error
        endpoint.check(call.symbols)
        return endpoint


class _Refused(Exception):
    """A call that is answered with an error, and what it costs nevertheless."""

    def __init__(self, error: ApiError, cost: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.cost = cost


async def _delay(call: _Call) -> None:
    for fault in call.faults:
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)


def _key(request: Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "apikey" else Query(request.query_params).text("apikey")
