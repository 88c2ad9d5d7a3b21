"""Who is told when a task has failed for good: error tracking, and a mail for reports."""

import gzip
import json
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from prefect.states import Failed
from pydantic import SecretStr

from autoindex.settings import Settings
from flows.visibility import failures
from tests.flows.conftest import Inbox, Worker
from tests.prefect_server import Receiver

REPORT = "flows.generate_report.generate_report"
SECRET = "a-very-secret-password"


@pytest.fixture
def sentry() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def events(sentry: Receiver) -> list[dict[str, Any]]:
    """The events in the envelopes that were sent to Sentry's endpoint."""
    found = []
    for path, headers, body in sentry.received:
        assert path == "/api/42/envelope/"
        plain = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        lines = plain.split(b"\n")
        if json.loads(lines[1])["type"] == "event":
            found.append(json.loads(lines[2]))
    return found


def test_a_failed_report_is_tracked_and_mailed_once_without_secrets(
    worker: Worker, inbox: tuple[Inbox, int], sentry: Receiver
) -> None:
    box, port = inbox
    deployment = worker.deploy(REPORT, "failing")
    run = worker.ask(deployment, report_type="weekly", format="pdf", email="jane@example.com")
    env = {
        "AUTOINDEX_SENTRY_DSN": f"http://key@{sentry.address}/42",
        "AUTOINDEX_ALERT_EMAIL": "Operators <ops@example.com>, dev@example.com",
        "AUTOINDEX_CLOCK": "2022-12-28T22:00:00Z",
        "AUTOINDEX_SMTP_HOST": "127.0.0.1",
        "AUTOINDEX_SMTP_PORT": str(port),
        "AUTOINDEX_SMTP_SECURITY": "none",
        "AUTOINDEX_SMTP_PASSWORD": SECRET,
    }
    ended = worker.run(run, env)
    assert ended.state_name == "Failed"

    (event,) = events(sentry)
    assert event["tags"] == {"task_id": str(run.id), "kind": "generate-report"}
    (raised,) = event["exception"]["values"]
    assert raised["type"] == "ReportImpossible"
    assert "no levels yet" in raised["value"]
    assert raised["stacktrace"]["frames"][-1]["function"] == "_inputs"
    parameters = {"report_type": "weekly", "format": "pdf", "email": "…@example.com"}
    assert event["contexts"]["task"]["parameters"] == parameters
    assert "jane" not in json.dumps(event)

    assert [one.rcpt_tos for one in box.envelopes] == [["ops@example.com"], ["dev@example.com"]]
    envelope = box.envelopes[0]
    mail = message_from_bytes(envelope.content, policy=default)  # type: ignore[arg-type]
    subject = "Autoindex failed: weekly report as pdf to 2022-12-28"
    assert mail["Subject"] == subject
    text = mail.get_content()
    assert "no levels yet" in text
    assert f"generate-report {run.id}" in text
    assert f"/runs/flow-run/{run.id}" in text

    again = worker.ask(deployment, report_type="daily", format="json")
    worker.run(again, env)
    assert len(box.envelopes) == 4


def test_a_reason_is_masked_before_it_is_cut() -> None:
    Settings(smtp_password=SecretStr(SECRET))
    said = failures.reason_of(Failed(message="x" * 1_990 + SECRET))
    assert said == "x" * 1_990 + "***"


def test_a_mail_is_refused_before_the_report_is_made_while_mail_is_off(worker: Worker) -> None:
    deployment = worker.deploy(REPORT, "off")
    run = worker.ask(deployment, report_type="weekly", format="pdf", email="jane@example.com")
    ended = worker.run(run)
    assert ended.state is not None
    assert "email: mail is off" in str(ended.state.message)
    assert "AUTOINDEX_SMTP_HOST" in str(ended.state.message)


def test_who_can_be_told_is_told_where_another_cannot(
    worker: Worker, inbox: tuple[Inbox, int]
) -> None:
    box, port = inbox
    box.refused = "gone@example.com"
    run = worker.ask(worker.deploy(REPORT, "half"), report_type="weekly", format="pdf")
    env = {
        "AUTOINDEX_ALERT_EMAIL": "gone@example.com, ops@example.com",
        "AUTOINDEX_SMTP_HOST": "127.0.0.1",
        "AUTOINDEX_SMTP_PORT": str(port),
        "AUTOINDEX_SMTP_SECURITY": "none",
    }
    worker.run(run, env)
    assert [one.rcpt_tos for one in box.envelopes] == [["ops@example.com"]]


def test_nobody_is_told_where_nobody_wants_to_know(worker: Worker) -> None:
    run = worker.ask(worker.deploy(REPORT, "quiet"), report_type="weekly", format="pdf")
    assert worker.run(run).state_name == "Failed"
