"""Links to a report's file that need no token: the link is one, for this file and a few days."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt

from autoindex.settings import Settings

LIFETIME: Final = timedelta(days=7)
PATH: Final = "/api/v1/reports/shared"
# Not the audience of a user's token: neither opens what the other does.
_AUDIENCE: Final = "autoindex-report-file"
_ALGORITHM: Final = "HS256"


class LinkRefused(Exception):
    """The link is malformed, forged or too old; the text says which."""


def signed(settings: Settings, task_id: UUID, now: datetime) -> str | None:
    """The whole link; None where there is no secret to sign it with (see `jwt_jwks_url`)."""
    if settings.jwt_secret is None:
        return None
    claims = {"aud": _AUDIENCE, "sub": str(task_id), "exp": now + LIFETIME}
    token = jwt.encode(claims, settings.jwt_secret.get_secret_value(), _ALGORITHM)
    return f"{settings.public_url}{PATH}?link={token}"


def opened(settings: Settings, token: str) -> UUID:
    """The task whose report a link opens; raises `LinkRefused`."""
    if settings.jwt_secret is None:
        raise LinkRefused("this facade gives out no links")
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
        raise LinkRefused("this is no link to a report") from error
