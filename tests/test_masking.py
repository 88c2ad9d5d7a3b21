"""Secrets are in no text, in whatever form they come."""

import json
import logging
import traceback
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr

from autoindex import masking
from autoindex.settings import Settings

KEY = "0123456789abcdef"
PASSWORD = "p%2Fw/with#all of?them"


@pytest.fixture(autouse=True)
def read() -> Settings:
    """Settings as a process has read them."""
    return Settings(
        twelve_data_api_key=SecretStr(KEY),
        database_url=SecretStr(f"postgresql://app:{PASSWORD}@db/autoindex"),
        redis_url=SecretStr("redis://:short@there"),
        smtp_password=SecretStr("autoindex-2 sesame\"'&"),
        slack_webhook_url=SecretStr("https://hooks.slack.com/services/T0/B0/cdefghij"),
        sentry_dsn=SecretStr("https://fedcba9876543210@sentry.example.com/42"),
        twelve_data_base_url="https://proxy:hunter2-hunter2@api.example.com",
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"apikey={KEY}&x=1", "apikey=***&x=1"),
        (f"Illegal header value b'apikey {KEY}\\r'", "Illegal header value b'apikey ***\\r'"),
        (f"can't connect as app with {PASSWORD}", "can't connect as app with ***"),
        ("or p/w/with#all of?them", "or ***"),
        ("or p%252Fw/with%23all%20of%3Fthem", "or ***"),
        ("or p%252Fw%2Fwith%23all+of%3Fthem", "or ***"),
        ("no short word shortens another", "no *** word shortens another"),
        (json.dumps({"said": "autoindex-2 sesame\"'&"}), '{"said": "***"}'),
        (repr("autoindex-2 sesame\"'&"), "'***'"),
        ("the proxy refuses hunter2-hunter2", "the proxy refuses ***"),
        ("POST /services/T0/B0/cdefghij: 404", "POST ***: 404"),
        ("to fedcba9876543210", "to ***"),
        ("at https://proxy:hunter2-hunter2@api.example.com", "at https://***@api.example.com"),
        (
            "through http://me:secret@proxy.example.com:3128",
            "through http://***@proxy.example.com:3128",
        ),
        (
            "autoindex at https://app.example.com/a:b@c",
            "autoindex at https://app.example.com/a:b@c",
        ),
    ],
)
def test_every_form_is_masked(text: str, shown: str) -> None:
    assert masking.masked(text) == shown


def test_so_is_a_password_in_other_letters() -> None:
    password = "naïve'\"wörd"
    Settings(database_url=SecretStr(f"postgresql://app:{quote(password)}@db/autoindex"))
    for written in (password, repr(password), json.dumps(password), repr(password.encode())):
        assert "w" not in masking.masked(written)


def test_a_name_that_is_also_a_password_stays_a_word() -> None:
    Settings(database_url=SecretStr("postgresql://autoindex:autoindex@db/autoindex"))
    said = "autoindex up: postgresql+psycopg://autoindex:autoindex@db/autoindex"
    assert masking.masked(said) == "autoindex up: postgresql+psycopg://***@db/autoindex"


@pytest.mark.parametrize(
    "name", ["PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_KEY"]
)
def test_prefects_password_is_masked_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "admin:a long, random word")
    Settings()
    said = "as admin with admin:a long, random word, a%20long%2C%20random%20word or "
    assert masking.masked(said + "YWRtaW46YSBsb25nLCByYW5kb20gd29yZA==") == (
        "as admin with ***, *** or ***"
    )


def test_a_record_is_masked_before_any_handler_has_it(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("somebody.else")
    log.warning("asked with %s", KEY)
    log.error("%d failed", 1, exc_info=ValueError(KEY))
    log.warning("nothing to %s", "hide")
    assert KEY not in caplog.text
    assert "ValueError: ***" in caplog.text
    assert caplog.records[-1].args == ("hide",)


def test_an_error_is_masked_with_its_causes() -> None:
    error = httpx.ConnectError(f"no way with {KEY}")
    error.__cause__ = OSError(111, f"refused {KEY}")
    error.__cause__.__context__ = LookupError(f"nobody has {KEY}")
    masking.mask_error(error)
    assert str(error) == "no way with ***"
    assert KEY not in "".join(traceback.format_exception(error))


def test_a_value_is_masked_wherever_a_text_stands_in_it() -> None:
    value = {"reasons": [KEY, {"KO": (KEY, 1)}], "rows": 2, "none": None}
    shown = {"reasons": ["***", {"KO": ["***", 1]}], "rows": 2, "none": None}
    assert masking.masked_everywhere(value) == shown
