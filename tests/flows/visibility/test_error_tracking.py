"""What leaves the house when a task has failed."""

import json

from pydantic import SecretStr

from autoindex.settings import Settings
from flows.visibility import error_tracking
from tests.flows.visibility.test_failures import events
from tests.prefect_server import Receiver


def report(settings: Settings, error: BaseException | None, reason: str = "") -> str | None:
    return error_tracking.report(
        settings, task_id="t", kind="refresh", parameters={}, reason=reason, error=error
    )


def connect(password: str) -> None:
    raise ConnectionError(f"postgresql://app:{password}@db/autoindex refused")


def raised() -> BaseException:
    try:
        connect("hunter2-hunter2")
    except ConnectionError as cause:
        error = RuntimeError("the key TWELVE-DATA-KEY was refused")
        error.__cause__ = cause
        return error
    raise AssertionError


def test_secrets_are_blotted_out_wherever_they_stand() -> None:
    with Receiver() as sentry:
        settings = Settings(
            sentry_dsn=SecretStr(f"http://key@{sentry.address}/42"),
            database_url=SecretStr("postgresql://app:hunter2-hunter2@db/autoindex"),
            twelve_data_api_key=SecretStr("TWELVE-DATA-KEY"),
        )
        assert report(settings, raised())
        (event,) = events(sentry)
    texts = json.dumps(event)
    assert "hunter2" not in texts
    assert "TWELVE-DATA-KEY" not in texts
    assert [one["type"] for one in event["exception"]["values"]] == [
        "ConnectionError",
        "RuntimeError",
    ]
    assert "vars" not in texts


def test_a_crash_without_an_exception_is_a_message() -> None:
    with Receiver() as sentry:
        settings = Settings(sentry_dsn=SecretStr(f"http://key@{sentry.address}/42"))
        report(settings, None, "its process died three times")
        (event,) = events(sentry)
    assert (event["message"], event["level"]) == ("its process died three times", "error")


def test_without_a_dsn_nothing_is_sent() -> None:
    assert report(Settings(), raised()) is None
