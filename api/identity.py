"""Who is asking: a bearer token checked, and what it allows."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt

from api import key_set, tokens
from api.key_set import KeySet
from api.tokens import Scope
from autoindex.errors import ConfigurationError
from autoindex.settings import Settings

_LEEWAY_SECONDS: Final = 30
_REQUIRED: Final = ["aud", "exp", "iss", "sub"]
# Large enough for a token with many claims, small enough to be checked in no time.
_LONGEST_TOKEN: Final = 8_192
_LONGEST_KEY_ID: Final = 256


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether the token carries a scope; none implies another."""
        return scope in self.scopes


class TokenRefused(Exception):
    """The token is missing, malformed, expired, or not for us; the text says which."""


class Keys(Protocol):
    """Where the key to a token's signature comes from."""

    algorithms: list[str]

    async def of(self, token: str) -> Any:
        """The key that should have signed this token."""
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
        """The secret, whatever the token."""
        return self._value

    async def aclose(self) -> None:
        """There is nothing to close."""


class PublishedKeys:
    """The keys an issuer publishes, of which the token names one."""

    def __init__(self, published: KeySet) -> None:
        self.algorithms = list(key_set.ALGORITHMS)
        self._published = published

    async def of(self, token: str) -> jwt.PyJWK:
        """The key that the token names; raises `PartUnavailable` when the issuer is away."""
        header = jwt.get_unverified_header(token)
        key_id = header.get("kid")
        # Before the issuer is asked: it need not hear of what would be refused anyway.
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

    async def aclose(self) -> None:
        """Close connections."""
        await self._keys.aclose()

    async def check(self, authorization: str | None) -> User:
        """The user an `Authorization` header stands for; raises `TokenRefused`."""
        token = _bearer(authorization)
        try:
            claims = jwt.decode(
                token,
                await self._keys.of(token),
                algorithms=self._keys.algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
        except jwt.InvalidTokenError as problem:
            raise TokenRefused(_reason(problem)) from problem
        return User(_name(claims["sub"]), _scopes(claims.get("scope")))


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
    """RFC 8693 has a text with spaces; some issuers send a list."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(scope for scope in claim if isinstance(scope, str))
    return frozenset()
