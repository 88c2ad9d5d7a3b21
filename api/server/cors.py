"""Pages of other origins that may call the facade: what a browser asks before it lets them."""

from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

_SENT: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-ID",
)
_READ: Final = (
    "Content-Disposition",
    "ETag",
    "Link",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-ID",
)
_ASKED_AGAIN_SECONDS: Final = 3_600


def admit(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins send tokens of their own; cookies play no part here."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=_SENT,
        expose_headers=_READ,
        max_age=_ASKED_AGAIN_SECONDS,
    )
