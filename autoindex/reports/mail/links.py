"""Signed links to report files, which need no token: each is valid for one file and some days."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt

from autoindex.settings import Settings

LIFETIME: Final = timedelta(days=7)
PATH: Final = "/api/v1/reports/shared"
# Not the audience of a user's token: neither is valid in the other's place.
_AUDIENCE: Final = "autoindex-report-file"
_ALGORITHM: Final = "HS256"


class LinkRefused(Exception):
    """The link is malformed, forged or expired; the text says which."""


def signed(settings: Settings, task_id: UUID, now: datetime) -> str | None:
    """The signed URL; None without a secret to sign it with (see `jwt_jwks_url`)."""
    if settings.jwt_secret is None:
        return None
    claims = {"aud": _AUDIENCE, "sub": str(task_id), "exp": now + LIFETIME}
    token = jwt.encode(claims, settings.jwt_secret.get_secret_value(), _ALGORITHM)
    return f"{settings.public_url}{PATH}?link={token}"


def opened(settings: Settings, token: str) -> UUID:
    """The task whose report a link gives access to; raises `LinkRefused`."""
    if settings.jwt_secret is None:
        raise LinkRefused("this facade issues no links")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            settings.jwt_secret.get_secret_value(),
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["aud", "exp", "sub"]},
        )
        return UUID(claims["sub"])
    except jwt.ExpiredSignatureError as error:
        raise LinkRefused("the link has expired; ask the app for the report") from error
    except (jwt.InvalidTokenError, ValueError) as error:
        raise LinkRefused("this is not a link to a report") from error
