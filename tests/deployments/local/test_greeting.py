"""The greeting of a started stack."""

import os
from pathlib import Path

import jwt
import pytest
from pydantic import SecretStr
from rich.console import Console

from autoindex.settings import Settings
from deployments.local.greeting import page_address
from deployments.local.stack import Stack

SECRET = "correct-horse-battery-staple-and-more"


@pytest.fixture
def running(tmp_path: Path) -> Stack:
    return Stack(Settings(data_dir=tmp_path, api_port=8123, jwt_secret=SecretStr(SECRET)))


def test_a_terminal_gets_a_link_that_signs_in_for_an_hour(running: Stack) -> None:
    screen, keyboard = os.openpty()
    with os.fdopen(keyboard, "w") as terminal:
        link = page_address(running, Console(file=terminal)).split()[0]
    os.close(screen)
    address, _, token = link.partition("#token=")
    assert address == "http://127.0.0.1:8123/"
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="autoindex")
    assert claims["scope"] == "tasks:read tasks:run"
    assert claims["exp"] - claims["iat"] == 3_600


def test_a_log_gets_no_token(
    running: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes every file for a terminal
    with (tmp_path / "log").open("w") as log:
        shown = page_address(running, Console(file=log))
    assert shown.startswith("http://127.0.0.1:8123/ ")
    assert "token=" not in shown


def test_tokens_of_another_issuer_are_pasted(tmp_path: Path) -> None:
    issuer = Settings(data_dir=tmp_path, jwt_jwks_url="https://issuer.example/keys")
    screen, keyboard = os.openpty()
    with os.fdopen(keyboard, "w") as terminal:
        assert "token=" not in page_address(Stack(issuer), Console(file=terminal))
    os.close(screen)
