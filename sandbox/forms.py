"""The form of an answer: JSON, CSV, or a broken one."""

import csv
import json
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox import error_bodies
from sandbox.faults import EDGE_PAGE, Fault
from sandbox.query import Query


def as_json(body: Mapping[str, Any], status: int = 200) -> Response:
    """An answer as JSON."""
    text = json.dumps(body, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def formatted(body: Mapping[str, Any], query: Query) -> Response:
    """A response in the format asked for; CSV is only for lists and one symbol's bars."""
    if query.word("format", "json", ("json", "csv")) == "json":
        return as_json(body)
    rows = body.get("values") or body.get("data")
    if not isinstance(rows, list):
        hint = "The sandbox writes CSV for lists and for one symbol's time series"
        raise error_bodies.bad_parameter("format", "CSV", hint)
    return _csv(rows, query.text("delimiter", ";"))


def broken(response: Response, striking: Iterable[Fault]) -> Response:
    """The response as the faults of this call change it."""
    for fault in striking:
        body = bytes(response.body)
        match fault.kind:
            case "truncated":
                return _Truncated(response)
            case "half_json":
                return Response(body[: len(body) // 2], media_type="application/json")
            case "empty_body":
                return Response(b"", media_type="application/json")
            case "edge_page":
                return Response(EDGE_PAGE, 502, media_type="text/html")
            case "html":
                return Response(EDGE_PAGE, 200, media_type="text/html")
    return response


class _Truncated(Response):
    """Promises the whole body and ends the connection after half of it."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, whole.status_code, media_type=whole.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


def _csv(rows: list[dict[str, Any]], delimiter: str) -> Response:
    text = StringIO()
    names = list(rows[0]) if rows else []
    writer = csv.DictWriter(text, names, delimiter=delimiter, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    # Without a character set: the official client compares the whole header.
    return Response(text.getvalue(), headers={"Content-Type": "text/csv"})
