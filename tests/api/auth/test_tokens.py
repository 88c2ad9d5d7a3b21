"""Which secrets are accepted, and what a minted token says."""

import secrets
from datetime import timedelta

import jwt
import pytest
from pydantic import SecretStr, TypeAdapter

from api.auth import tokens
from autoindex.errors import ConfigurationError
from autoindex.setting_types import SigningSecret
from autoindex.settings import Settings

SECRET = "correct-horse-battery-staple-and-more"


def settings(**given: object) -> Settings:
    return Settings.model_validate({"jwt_secret": SecretStr(SECRET), **given})


def test_a_token_says_who_for_whom_and_until_when() -> None:
    token = tokens.mint(settings(), "ada", ["tasks:read", "tasks:run"], timedelta(minutes=5))
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="autoindex")
    assert claims["sub"] == "ada"
    assert claims["scope"] == "tasks:read tasks:run"
    assert claims["iss"] == "autoindex"
    assert claims["exp"] - claims["iat"] == 300


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (None, "AUTOINDEX_JWT_SECRET is not set"),
        ("", "can be guessed"),
        ("secret", "can be guessed"),
        ("x" * 31, "can be guessed"),
        ("a" * 64, "can be guessed"),
        ("0123456789abcdef0123456789abcdef", "can be guessed"),
        ("hello-world!" * 4, "can be guessed"),
        ("please-CHANGE_ME-before-production-use", "can be guessed"),
        ("your-256-bit-secret-goes-right-in-here", "can be guessed"),
        (
            "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
            "can be guessed",
        ),
    ],
)
def test_a_weak_secret_is_refused(secret: str | None, reason: str) -> None:
    weak = None if secret is None else SecretStr(secret)
    with pytest.raises(ConfigurationError, match=reason):
        tokens.mint(settings(jwt_secret=weak), "ada", ["tasks:read"], timedelta(minutes=5))


def test_a_secret_of_32_bytes_is_enough() -> None:
    enough = settings(jwt_secret=SecretStr("cbb1d4cf90e7a3f2185d6c0b94ea7731"))
    assert tokens.mint(enough, "ada", [], timedelta(minutes=5))


def test_a_scope_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"tasks:rule.*tasks:read, tasks:run, tasks:admin"):
        tokens.mint(settings(), "ada", ["tasks:rule"], timedelta(minutes=5))


def test_no_token_is_minted_where_an_issuer_makes_them() -> None:
    elsewhere = settings(jwt_secret=None, jwt_jwks_url="https://issuer.example/keys")
    with pytest.raises(ConfigurationError, match="AUTOINDEX_JWT_JWKS_URL"):
        tokens.mint(elsewhere, "ada", ["tasks:read"], timedelta(minutes=5))


@pytest.mark.parametrize("user", ["", "a\nb", "x" * 201])
def test_a_name_that_no_facade_takes_gets_no_token(user: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 200 printable characters"):
        tokens.mint(settings(), user, ["tasks:read"], timedelta(minutes=5))


def test_every_secret_made_at_random_is_good() -> None:
    # The setting's own type alone: 2,000 settings would take seconds.
    taken = TypeAdapter(SigningSecret).validate_python
    for _ in range(2_000):
        assert taken(SecretStr(secrets.token_urlsafe(48)))
    assert tokens.secret(settings(jwt_secret=SecretStr(secrets.token_urlsafe(48))))
