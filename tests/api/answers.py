"""Clients of the facade, and the form of its errors."""

from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from api.auth import tokens

EVERY_SCOPE = ["tasks:read", "tasks:run", "tasks:admin"]


def client(
    app: FastAPI, user: str | None = "ada", scopes: list[str] = EVERY_SCOPE
) -> httpx.AsyncClient:
    """A client with a token, or without one."""
    headers = {}
    if user is not None:
        token = tokens.mint(app.state.settings, user, scopes, timedelta(minutes=5))
        headers["Authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://facade", headers=headers)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem an answer carries, checked for its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert "Traceback" not in answer.text
    return found
