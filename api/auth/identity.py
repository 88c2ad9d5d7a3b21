"""Who sends a request: the bearer token is checked here."""

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

import jwt
from cachetools import TLRUCache

from api.auth import jwks, tokens
from api.auth.jwks import KeySet
from api.auth.tokens import Scope
from autoindex.errors import ConfigurationError
from autoindex.settings import Settings

_LEEWAY_SECONDS: Final = 30
_REQUIRED: Final = ["aud", "exp", "iss", "sub"]
# Large enough for a token with many claims, small enough to be checked quickly.
_LONGEST_TOKEN: Final = 8_192
_LONGEST_KEY_ID: Final = 256
_MOST_CHECKED: Final = 1_000


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether the token has a scope; no scope implies another."""
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class _CheckedToken:
    """A token's user, the key that its signature was checked with, and when it expires."""

    user: User
    key: Any
    expires_at: int


class TokenRefused(Exception):
    """The token is missing, malformed, expired, or not for us; the text says which."""


class Keys(Protocol):
    """The source of the key that a token is signed with."""

    algorithms: list[str]

    async def of(self, token: str) -> Any:
        """The key that this token must be signed with."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


class SharedSecret:
    """One HS256 secret."""

    def __init__(self, value: str) -> None:
        self.algorithms = [tokens.SHARED_KEY_ALGORITHM]
        self._value = value

    async def of(self, token: str) -> str:  # noqa: ARG002
        """The secret; it is the same for every token."""
        return self._value

    async def aclose(self) -> None:
        """There is nothing to close."""


class PublishedKeys:
    """The keys that an issuer publishes; the token names one."""

    def __init__(self, published: KeySet) -> None:
        self.algorithms = list(jwks.ALGORITHMS)
        self._published = published

    async def of(self, token: str) -> jwt.PyJWK:
        """The key that the token names; raises `PartUnavailable` without the issuer's keys."""
        header = jwt.get_unverified_header(token)
        key_id = header.get("kid")
        # Before a fetch from the issuer: such a token is refused in any case.
        if header.get("alg") not in self.algorithms or not key_id or len(key_id) > _LONGEST_KEY_ID:
            raise TokenRefused("the token names no key, or one of another kind")
        key = await self._published.find(key_id)
        if key is None or key.algorithm_name != header["alg"]:
            raise TokenRefused("the token's signing key is not among the issuer's")
        return key

    async def aclose(self) -> None:
        """Close connections."""
        await self._published.aclose()


class Identity:
    """Checks bearer tokens.

    Raises `ConfigurationError` when no usable key is set, so that the facade does not start.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = _keys(settings)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._checked_tokens: TLRUCache[bytes, _CheckedToken] = TLRUCache(
            _MOST_CHECKED, lambda _, token, __: token.expires_at, time.time
        )

    async def aclose(self) -> None:
        """Close connections."""
        await self._keys.aclose()

    async def check(self, authorization: str | None) -> User:
        """The user of an `Authorization` header; raises `TokenRefused`."""
        token = _bearer(authorization)
        try:
            key = await self._keys.of(token)
            return self._known(token, key) or self._checked(token, key)
        except jwt.InvalidTokenError as problem:
            raise TokenRefused(_reason(problem)) from problem

    def _known(self, token: str, key: Any) -> User | None:
        """The user of a token that was checked with this key before, unless it has expired.

        Checking a signature takes a fifth of the time of a short answer.
        """
        checked = self._checked_tokens.get(_digest(token))
        return checked.user if checked and checked.key is key else None

    def _checked(self, token: str, key: Any) -> User:
        claims = jwt.decode(
            token,
            key,
            algorithms=self._keys.algorithms,
            audience=self._audience,
            issuer=self._issuer,
            leeway=_LEEWAY_SECONDS,
            options={"require": _REQUIRED},
        )
        user = User(_name(claims["sub"]), _scopes(claims.get("scope")))
        self._checked_tokens[_digest(token)] = _CheckedToken(user, key, int(claims["exp"]))
        return user


def _digest(token: str) -> bytes:
    """The hash that is kept of a token: the token itself is a secret."""
    return sha256(token.encode()).digest()


def _keys(settings: Settings) -> Keys:
    if settings.jwt_jwks_url is None:
        return SharedSecret(tokens.secret(settings))
    if settings.jwt_secret is not None:
        raise ConfigurationError(
            "AUTOINDEX_JWT_SECRET and AUTOINDEX_JWT_JWKS_URL are both set: choose one"
        )
    return PublishedKeys(KeySet(settings.jwt_jwks_url))


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused("send a token: `Authorization: Bearer ...`")
    if len(token) > _LONGEST_TOKEN:
        raise TokenRefused(f"the token is longer than {_LONGEST_TOKEN} characters")
    return token


def _reason(problem: jwt.InvalidTokenError) -> str:
    reasons: dict[type[jwt.InvalidTokenError], str] = {
        jwt.ExpiredSignatureError: "the token has expired",
        jwt.InvalidAudienceError: "the token is for another audience",
        jwt.InvalidIssuerError: "the token is from another issuer",
        jwt.ImmatureSignatureError: "the token is not valid yet",
        jwt.MissingRequiredClaimError: f"the token needs the claims {', '.join(_REQUIRED)}",
    }
    return reasons.get(type(problem), "the token cannot be verified")


def _name(subject: object) -> str:
    if tokens.is_user(subject):
        return subject
    raise TokenRefused(f"the token's subject must be {tokens.USER_RULE}")


def _scopes(claim: object) -> frozenset[str]:
    """RFC 8693 separates scopes by spaces; some issuers send a list."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(scope for scope in claim if isinstance(scope, str))
    return frozenset()
