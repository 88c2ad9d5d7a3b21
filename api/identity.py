"""Who is asking: a bearer token checked, and what it allows."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt
from anyio import to_thread

from api import tokens
from api.tokens import Scope
from autoindex.errors import ConfigurationError, PartUnavailable
from autoindex.settings import Settings

_LEEWAY_SECONDS: Final = 30
_REQUIRED: Final = ["aud", "exp", "iss", "sub"]
_KEY_SET_ALGORITHMS: Final = ["RS256", "ES256"]
# Large enough for a token with many claims, small enough to be checked in no time.
_LONGEST_TOKEN: Final = 8_192
_LONGEST_USER: Final = 200


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


class SharedSecret:
    """One HS256 secret."""

    def __init__(self, value: str) -> None:
        self.algorithms = [tokens.SHARED_KEY_ALGORITHM]
        self._value = value

    async def of(self, token: str) -> str:  # noqa: ARG002
        """The secret, whatever the token."""
        return self._value


class KeySet:
    """An issuer's published keys, cached for minutes; a new key id makes it ask again."""

    def __init__(self, url: str, *, cooldown_seconds: float = 10.0) -> None:
        self.algorithms = _KEY_SET_ALGORITHMS
        # Without a pause between two askings, tokens with random key ids would flood the issuer.
        self._client = jwt.PyJWKClient(url, timeout=3, cooldown_duration=cooldown_seconds)

    async def of(self, token: str) -> jwt.PyJWK:
        """The key that the token names; raises `PartUnavailable` when the issuer is away."""
        try:
            return await to_thread.run_sync(self._client.get_signing_key_from_jwt, token)
        except jwt.PyJWKClientConnectionError as problem:
            raise PartUnavailable("The issuer's key set") from problem
        except jwt.PyJWKClientError as problem:
            raise TokenRefused("the token's signing key is not among the issuer's") from problem


class Identity:
    """Checks bearer tokens.

    Raises `ConfigurationError` when no usable key is set, so that the facade does not start.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = _keys(settings)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience

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
    return KeySet(settings.jwt_jwks_url)


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
    # It becomes part of a tag on the flow run, and of log lines.
    if isinstance(subject, str) and 0 < len(subject) <= _LONGEST_USER and subject.isprintable():
        return subject
    raise TokenRefused(f"the token's subject must be 1 to {_LONGEST_USER} printable characters")


def _scopes(claim: object) -> frozenset[str]:
    """RFC 8693 has a text with spaces; some issuers send a list."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(scope for scope in claim if isinstance(scope, str))
    return frozenset()
