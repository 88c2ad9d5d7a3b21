"""Pages of other origins: admitted where they are named, and only there."""

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from tests.api.answers import client
from tests.api.in_memory import InMemory

pytestmark = pytest.mark.anyio
PAGE = "https://app.example.com"
ASKED = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization,last-event-id,range",
}


async def asked(settings: Settings, origins: str | None) -> tuple[httpx.Response, httpx.Response]:
    app = create_app(settings.model_copy(update={"api_origins": origins}), InMemory())
    async with client(app) as http:
        path = "/api/v1/background/tasks"
        return await http.options(path, headers=ASKED), await http.get(path, headers=ASKED)


async def test_a_named_origin_may_send_its_token(settings: Settings) -> None:
    before, answer = await asked(settings, f"https://other.example.com {PAGE}")
    assert before.status_code == 200
    assert "authorization" in before.headers["access-control-allow-headers"].lower()
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "ETag" in answer.headers["access-control-expose-headers"]


async def test_no_other_origin_may(settings: Settings) -> None:
    for origins in (None, "https://other.example.com"):
        before, answer = await asked(settings, origins)
        assert not before.is_success
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("wrong", ["*", "app.example.com", f"{PAGE}/page", "null"])
def test_what_is_no_origin_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="AUTOINDEX_API_ORIGINS: must be origins"):
        Settings(api_origins=wrong, jwt_secret=SecretStr("x"))
