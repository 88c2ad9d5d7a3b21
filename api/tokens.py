"""Tokens: which keys they are signed with, and how one is made for a person."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import uuid4

import jwt

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings

# RFC 7518, section 3.2: a key at least as long as the hash.
SHORTEST_SECRET_BYTES: Final = 32
SHARED_KEY_ALGORITHM: Final = "HS256"


class Scope(StrEnum):
    """What a token allows."""

    READ = "tasks:read"
    RUN = "tasks:run"
    ADMIN = "tasks:admin"


def secret(settings: Settings) -> str:
    """The signing secret; raises `ConfigurationError` where it is missing or too short."""
    if settings.jwt_secret is None:
        raise ConfigurationError(
            "AUTOINDEX_JWT_SECRET is not set: give it 32 random bytes or more "
            "(`openssl rand -base64 48`), or set AUTOINDEX_JWT_JWKS_URL"
        )
    value = settings.jwt_secret.get_secret_value()
    if len(value.encode()) < SHORTEST_SECRET_BYTES or len(set(value)) < 8:
        raise ConfigurationError(
            f"AUTOINDEX_JWT_SECRET can be guessed: give it {SHORTEST_SECRET_BYTES} random bytes "
            "or more (`openssl rand -base64 48`)"
        )
    return value


def mint(settings: Settings, user: str, scopes: Sequence[str], lifetime: timedelta) -> str:
    """Make a token for `user`, signed with the shared secret.

    Raises `ConfigurationError` for a scope that does not exist, and where tokens are made
    elsewhere: with a key set, whoever holds the private key makes them.
    """
    unknown = sorted(set(scopes) - set(Scope))
    if unknown:
        raise ConfigurationError(
            f"no such scope: {', '.join(unknown)}; there are {', '.join(Scope)}"
        )
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
