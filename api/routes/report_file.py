"""A report's file as a response: whole, in part, or a 304."""

import re
from http import HTTPStatus
from pathlib import PurePath
from typing import Any, Final

from fastapi import Response
from starlette.datastructures import Headers

from api.problems import MEDIA_TYPE, Problem
from api.routes import negotiation
from api.routes.report_folder import ReportFolder
from autoindex.storage.stored_reports import StoredReport

# Those of `autoindex.reports.files`; its import would load every drawing library.
MEDIA_TYPES: Final = (
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/json",
)
# No file has more than 18 digits of bytes.
_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file.",
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}} for name in MEDIA_TYPES
        },
        "headers": {
            "ETag": {"description": "Identifies this file.", "schema": {"type": "string"}},
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
    report: StoredReport, folder: ReportFolder, headers: Headers, if_none_match: str | None
) -> Response | None:
    """The report's file; None where the folder has none.

    Not Starlette's `FileResponse`: it reads in threads that everybody shares, and a cancelled
    download waits for a thread that hangs. A report is small enough to be read at once.
    """
    tag = f'"{report.sha256}"'
    caching = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if negotiation.has(if_none_match, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=caching)
    content = await folder.read(report.path)
    if content is None:
        return None
    name = PurePath(report.path).name
    described = {
        **caching,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    part = _part(headers, tag, len(content))
    if part is None:
        return Response(content, headers=described, media_type=report.media_type)
    described["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(content)}"
    return Response(
        content[part.start : part.stop],
        HTTPStatus.PARTIAL_CONTENT,
        headers=described,
        media_type=report.media_type,
    )


def _part(headers: Headers, tag: str, size: int) -> range | None:
    """The bytes to send; None for all of them. Raises a 416 where the file ends before them.

    A Range that is malformed or has several parts may be ignored (RFC 9110, section 14.2).
    """
    asked = _RANGE.fullmatch(headers.get("range", ""))
    if asked is None or headers.get("if-range", tag) != tag:
        return None
    first, last = asked.groups()
    if not first:
        part = range(max(0, size - int(last)), size) if last else None
    elif last:
        part = range(int(first), min(size, int(last) + 1)) if int(first) <= int(last) else None
    else:
        part = range(int(first), size)
    if part is not None and not part:
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the file has {size} bytes; ask for a part of them",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        )
    return part
