"""The page for people at `/`: static files, which need no token."""

import os
from collections.abc import Awaitable, Callable
from hashlib import sha256
from html import escape
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response

from api.routes import negotiation
from api.routes.guarded_route import GuardedRoute

_FOLDER: Final = Path(__file__).resolve().parent.parent / "web_page"
_INDEX: Final = "index.html"
_MEDIA_TYPES: Final = {
    _INDEX: "text/html",
    "script.js": "text/javascript",
    "chart.js": "text/javascript",
    "elements.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_FILES: Final = {"/" if name == _INDEX else f"/web-page/{name}": name for name in _MEDIA_TYPES}
PATHS: Final = frozenset(_FILES)
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

IfNoneMatch = Annotated[str | None, Header(max_length=2_048)]


def router() -> APIRouter:
    """Routes of the page's files, which are read once."""
    made = APIRouter(route_class=GuardedRoute, include_in_schema=False)
    for path, name in _FILES.items():
        made.add_api_route(path, _serve(_content(name), _MEDIA_TYPES[name]))
    return made


def _content(name: str) -> bytes:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    if name == _INDEX:
        # Prefect's own setting for the address of its UI in a browser.
        text = Template(text).substitute(prefect_ui=escape(os.environ.get("PREFECT_UI_URL", "")))
    return text.encode()


def _serve(content: bytes, media_type: str) -> Callable[..., Awaitable[Response]]:
    headers = {**_HEADERS, "ETag": f'"{sha256(content).hexdigest()[:32]}"'}

    async def serve(if_none_match: IfNoneMatch = None) -> Response:
        if negotiation.has(if_none_match, headers["ETag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return serve
