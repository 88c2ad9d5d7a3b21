"""Links that open one report, for a while."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import jwt
import pytest
from pydantic import SecretStr

from autoindex.reports.mail import links
from autoindex.settings import Settings

TASK = UUID("00000000-0000-4000-8000-000000000001")
NOW = datetime.now(UTC)
SECRET = "correct-horse-battery-staple-and-more"
SETTINGS = Settings(jwt_secret=SecretStr(SECRET), api_url="https://app.example.com/")


def token(link: str | None) -> str:
    assert link is not None
    return parse_qs(urlsplit(link).query)["link"][0]


def test_a_link_opens_the_report_it_was_signed_for() -> None:
    link = links.signed(SETTINGS, TASK, NOW)
    assert str(link).startswith("https://app.example.com/api/v1/reports/shared?link=")
    assert links.opened(SETTINGS, token(link)) == TASK


def test_an_old_link_says_so() -> None:
    old = token(links.signed(SETTINGS, TASK, NOW - links.LIFETIME - timedelta(minutes=1)))
    with pytest.raises(links.LinkRefused, match="expired"):
        links.opened(SETTINGS, old)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({}, "another-secret-that-is-long-enough-to-sign"),
        ({"aud": "autoindex"}, SECRET),
        ({"sub": "../../etc/passwd"}, SECRET),
        ({"exp": None}, SECRET),
    ],
)
def test_what_was_not_signed_for_a_report_is_refused(changed: dict[str, str], key: str) -> None:
    claims = {"aud": "autoindex-report-file", "sub": str(TASK), "exp": NOW + timedelta(days=1)}
    claims = {name: value for name, value in (claims | changed).items() if value is not None}
    with pytest.raises(links.LinkRefused):
        links.opened(SETTINGS, jwt.encode(claims, key, "HS256"))


def test_without_a_secret_there_are_no_links() -> None:
    assert links.signed(Settings(), TASK, NOW) is None
    with pytest.raises(links.LinkRefused):
        links.opened(Settings(), "anything")
