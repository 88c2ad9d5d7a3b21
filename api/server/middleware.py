"""Middleware before every route: authentication, rate limits, size limits, the access log."""

import asyncio
import logging
import re
import time
from http import HTTPStatus
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.identity import Identity, TokenRefused
from api.auth.rate_limits import Allowance, RateLimits, TooManyRequests
from api.monitoring.prometheus import Metrics
from api.problems import Problem, challenge, rate, too_many, unavailable, unexpected
from api.server import json_logs
from autoindex.errors import PartUnavailable

# The largest request names 5,000 symbols of 15 characters, which is 95 kB with quotes and commas.
LARGEST_BODY_BYTES: Final = 131_072
LARGEST_HEAD_BYTES: Final = 32_768
MOST_HEADERS: Final = 100
_MOST_PARAMETERS: Final = 50
_SLOWEST_BODY_SECONDS: Final = 10.0
_OWN_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")

log = logging.getLogger("autoindex.api")


class AdmissionMiddleware:
    """Authenticates each request, counts it, and reads its body up to a limit.

    Every path but `open_paths` needs a token, even one that does not exist.
    """

    def __init__(
        self, app: ASGIApp, *, identity: Identity, limits: RateLimits, open_paths: frozenset[str]
    ) -> None:
        self.app = app
        self.identity = identity
        self.limits = limits
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            _check_head(scope)
            if scope["path"] not in self.open_paths:
                scope["state"]["allowance"] = await self._authenticate(scope)
                send = _with_allowance(scope, send)
            # Even where no route needs it: an unread body could be endless.
            body = await _body(Headers(scope=scope), receive)
        except Problem as problem:
            await problem.response(scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _authenticate(self, scope: Scope) -> Allowance:
        sent = Headers(scope=scope).getlist("authorization")
        try:
            user = await self.identity.check(_only(sent))
            scope.setdefault("state", {})["user"] = user
            return await self.limits.admit(user.name, starts_task=scope["method"] == "POST")
        except TokenRefused as refused:
            asked = challenge("invalid_token") if sent else challenge()
            raise Problem(HTTPStatus.UNAUTHORIZED, str(refused), headers=asked) from refused
        except PartUnavailable as away:
            log.warning("%s", away, exc_info=away)
            raise unavailable(f"{away}; try again soon", "part-unavailable") from away
        except TooManyRequests as refused:
            raise too_many(refused) from refused


def _only(values: list[str]) -> str | None:
    if len(values) > 1:
        raise TokenRefused("send one Authorization header")
    return values[0] if values else None


def _with_allowance(scope: Scope, send: Send) -> Send:
    """Send with every answer what is left, so that a client can slow down before it is refused.

    A route that counts the request again puts what is left then into the request's state.
    """

    async def send_with_allowance(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in rate(scope["state"]["allowance"]).items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_allowance


def _check_head(scope: Scope) -> None:
    # h11 limits only a head that arrives in pieces; one that arrives at once may be larger.
    fields = sum(len(name) + len(value) for name, value in scope["headers"])
    if fields + len(scope["raw_path"]) + len(scope["query_string"]) > LARGEST_HEAD_BYTES:
        raise _head_too_large(f"address and headers may have {LARGEST_HEAD_BYTES:,} bytes at most")
    if len(scope["headers"]) > MOST_HEADERS:
        raise _head_too_large(f"a request may have {MOST_HEADERS} headers at most")
    if scope["query_string"].count(b"&") >= _MOST_PARAMETERS:
        raise _head_too_large(f"an address may have {_MOST_PARAMETERS} parameters at most")


def _head_too_large(detail: str) -> Problem:
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return Problem(status, detail, headers={"Connection": "close"})


async def _body(headers: Headers, receive: Receive) -> bytes:
    announced = headers.get("content-length", "0")
    if not announced.isdigit() or int(announced[:20]) > LARGEST_BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(_SLOWEST_BODY_SECONDS):
            return await _read(receive)
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "the body took too long to arrive") from None


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"a body may have {LARGEST_BODY_BYTES:,} bytes at most",
        headers={"Connection": "close"},
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receive the body that was read already, then what the server sends next."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


class AccessLogMiddleware:
    """Gives each request an id, sends it with the answer, counts the request, and logs one line.

    It also answers unexpected errors: the framework's own answer would bypass it.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":  # a GET whose answer has no body
            scope, send = {**scope, "method": "GET"}, _only_head(send)
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        json_logs.request_id.set(request_id)
        began = time.monotonic()
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                # A browser that takes JSON for a page could run a script from a field.
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception:
            if not status:
                await unexpected().response(scope, receive, send_and_note)
            raise  # for the handler that logs it, and for the server
        finally:
            seconds = time.monotonic() - began
            self.metrics.answered({**scope, "method": method}, status, seconds)
            user = scope["state"].get("user")
            facts = {
                "method": method,
                # As it was sent: decoded, it could contain line breaks.
                "path": scope["raw_path"].decode("ascii", "replace"),
                "status": status,
                "milliseconds": round(1_000 * seconds),
                "user": user.name if user else None,
            }
            log.info("%(method)s %(path)s answered %(status)d", facts, extra=facts)


def _only_head(send: Send) -> Send:
    """Send the head of an answer, and then that it has ended: also a stream stops."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})

    return send_head


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _OWN_REQUEST_ID.fullmatch(given) else uuid4().hex
