"""Tokens: their scopes, the secret they are signed with, and how one is made."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeGuard
from uuid import uuid4

import jwt

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings

SHARED_KEY_ALGORITHM: Final = "HS256"
USER_RULE: Final = "1 to 200 printable characters"


class Scope(StrEnum):
    """What a token allows."""

    READ = "tasks:read"
    RUN = "tasks:run"
    ADMIN = "tasks:admin"
    METRICS = "metrics:read"


def secret(settings: Settings) -> str:
    """The signing secret; raises `ConfigurationError` where it is missing."""
    if settings.jwt_secret is None:
        raise ConfigurationError(
            "AUTOINDEX_JWT_SECRET is not set: give it 32 random bytes or more "
            "(`openssl rand -base64 48`), or set AUTOINDEX_JWT_JWKS_URL"
        )
    return settings.jwt_secret.get_secret_value()


def is_user(name: object) -> TypeGuard[str]:
    """Whether this can be a user's name, which becomes part of tags, log lines and keys."""
    return isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable()


def mint(settings: Settings, user: str, scopes: Sequence[str], lifetime: timedelta) -> str:
    """Make a token for `user`, signed with the shared secret.

    Raises `ConfigurationError` for an unknown scope, for a name that cannot be a user's, and where
    tokens are signed by an issuer with a key set.
    """
    unknown = sorted(set(scopes) - set(Scope))
    if unknown:
        raise ConfigurationError(
            f"no such scope: {', '.join(unknown)}; there are {', '.join(Scope)}"
        )
    if not is_user(user):
        raise ConfigurationError(f"a user's name must be {USER_RULE}")
    if settings.jwt_jwks_url is not None:
        raise ConfigurationError(
            "tokens are signed by the issuer behind AUTOINDEX_JWT_JWKS_URL: ask it for one"
        )
    now = datetime.now(UTC)
    claims = {
        "sub": user,
        "scope": " ".join(scopes),
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "iat": now,
        "exp": now + lifetime,
        "jti": uuid4().hex,
    }
    return jwt.encode(claims, secret(settings), algorithm=SHARED_KEY_ALGORITHM)
