"""A report's file as an answer: whole, in part, or not at all where the client has it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from anyio import AsyncFile
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from api.problems import MEDIA_TYPE, Problem
from api.routes import negotiation
from api.routes.report_folder import FoundFile, ReportFolder
from autoindex.storage.stored_reports import StoredReport

# Those of `autoindex.reports.files`, which would bring everything that draws.
MEDIA_TYPES: Final = (
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/json",
)
# A file of more than 18 digits of bytes there is not.
_SPEC: Final = r"(?:\d{1,18}-\d{0,18}|-\d{1,18})"
_RANGES: Final = re.compile(rf"bytes=\s*{_SPEC}(?:\s*,\s*{_SPEC})*\s*", re.ASCII)
_BOTH_ENDS: Final = re.compile(r"(\d+)-(\d+)", re.ASCII)

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file.",
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}} for name in MEDIA_TYPES
        },
        "headers": {
            "ETag": {"description": "Names this file.", "schema": {"type": "string"}},
            "Content-Disposition": {
                "description": "Its name.",
                "schema": {"type": "string"},
                "example": 'attachment; filename="autoindex-composite-monthly-2022-12-28.pdf"',
            },
        },
    },
    206: {"description": "The part that `Range` asks for."},
    304: {"description": "The file is the one with the `ETag` given."},
    416: {
        "description": "The file ends before the `Range` begins.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    },
}


async def answer(
    report: StoredReport, folder: ReportFolder, if_none_match: str | None
) -> Response | None:
    """The report's file; None where the folder has none."""
    found = await folder.find(report.path)
    if found is None:
        return None
    tag = f'"{report.sha256}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if negotiation.has(if_none_match, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return _Ranged(folder, found, report.media_type, headers)


class _Ranged(FileResponse):
    """Starlette's, but it ignores a Range that makes no sense (RFC 9110, section 14.2), and says in
    problem+json where one can't be satisfied. It reads in the folder's threads.
    """

    def __init__(
        self, folder: ReportFolder, found: FoundFile, media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(
            found.path,
            media_type=media_type,
            filename=found.path.name,
            headers=headers,
            stat_result=found.stat,
        )
        self._folder = folder
        self._found = found

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[AsyncFile[bytes]]:
        async with self._folder.opened(self._found.path) as file:
            yield file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _makes_sense(Headers(scope=scope).get("range", "")):
            headers = [pair for pair in scope["headers"] if pair[0] != b"range"]
            scope = {**scope, "headers": headers}
        refused: Problem | None = None

        async def told(message: Message) -> None:
            nonlocal refused
            if message.get("status") == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                refused = _beyond(MutableHeaders(raw=message["headers"])["content-range"])
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, told)
        if refused is not None:
            await refused.response(scope, receive, send)


def _makes_sense(header: str) -> bool:
    if _RANGES.fullmatch(header) is None:
        return False
    return all(int(first) <= int(last) for first, last in _BOTH_ENDS.findall(header))


def _beyond(content_range: str) -> Problem:
    size = content_range.rpartition("/")[2]
    return Problem(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        f"the file has {size} bytes; ask for a part of them",
        headers={"Content-Range": content_range, "Accept-Ranges": "bytes"},
    )
