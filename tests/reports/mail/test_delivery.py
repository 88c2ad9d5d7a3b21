"""Mail against a real SMTP server: aiosmtpd, with and without TLS and a login."""

import email
import re
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from autoindex.errors import ConfigurationError, MailRefused, MailUnavailable, MailUncertain
from autoindex.reports import files
from autoindex.reports.content import ReportContent
from autoindex.reports.mail import delivery
from autoindex.requests import ReportFormat
from autoindex.settings import Settings

TASK = UUID("00000000-0000-4000-8000-000000000001")
NOON = datetime(2022, 12, 29, 12, tzinfo=UTC)


class Inbox:
    """Keeps what arrives; answers as it is told to."""

    def __init__(self) -> None:
        self.letters: list[Envelope] = []
        self.answers: dict[str, str] = {}
        self.hang_up = False

    async def handle_RCPT(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if "RCPT" in self.answers:
            return self.answers["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_MAIL(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if "MAIL" in self.answers:
            return self.answers["MAIL"]
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:  # noqa: N802
        self.letters.append(envelope)
        if self.hang_up:
            assert server.transport is not None
            server.transport.abort()
        return self.answers.get("DATA", "250 OK")


class _Server(Controller):
    """aiosmtpd's, on a port of the system's choosing."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


Serve = Callable[..., tuple[Inbox, Settings]]


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """A certificate authority that this process trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


def _server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a mail server on a free port; the settings that reach it."""
    running: list[Controller] = []

    def start(
        security: str = "none", *, settings: dict[str, Any] | None = None, **more: Any
    ) -> Any:
        inbox = Inbox()
        controller = _Server(inbox, hostname="127.0.0.1", port=0, **more)
        controller.start()
        running.append(controller)
        values = {
            "smtp_host": "localhost",
            "smtp_port": controller.port,
            "smtp_security": security,
        }
        return inbox, Settings(**{**values, **(settings or {})})

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture(scope="module")
def report(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mail") / "report.json"
    files.write(content, ReportFormat.JSON, path)
    return path


@pytest.fixture(scope="module")
def mail(content: ReportContent, report: Path) -> EmailMessage:
    return _mail(content, report)


def _mail(content: ReportContent, report: Path, **changes: Any) -> EmailMessage:
    values: dict[str, Any] = {
        "sender": "Autoindex <autoindex@example.org>",
        "recipient": "reader@example.com",
        "identity": "<one@example.org>",
        "sent_at": NOON,
    }
    return delivery.message(content, ReportFormat.JSON, report, **{**values, **changes})


def _arrived(inbox: Inbox) -> EmailMessage:
    (letter,) = inbox.letters
    assert isinstance(letter.content, bytes)
    arrived = email.message_from_bytes(letter.content, policy=SMTP_POLICY)
    assert isinstance(arrived, EmailMessage)
    return arrived


def test_a_report_arrives_whole(
    serve: Serve, mail: EmailMessage, content: ReportContent, report: Path
) -> None:
    inbox, settings = serve()
    delivery.send(settings, mail)
    assert inbox.letters[0].rcpt_tos == ["reader@example.com"]
    assert inbox.letters[0].mail_from == "autoindex@example.org"
    arrived = _arrived(inbox)
    assert arrived["Subject"] == content.title
    assert arrived["Message-ID"] == "<one@example.org>"
    assert arrived["Date"].datetime == NOON
    text = arrived.get_body(("plain",))
    assert text is not None
    assert content.summary in text.get_content()
    (attached,) = arrived.iter_attachments()
    assert attached.get_content_type() == "application/json"
    assert attached.get_filename() == "autoindex-composite-monthly-2022-12-28.json"
    assert attached.get_payload(decode=True) == report.read_bytes()


def test_the_html_part_shows_its_chart(mail: EmailMessage, content: ReportContent) -> None:
    page = mail.get_body(("related",))
    assert page is not None
    html, chart = page.iter_parts()
    assert "cid:chart" in html.get_content()
    assert "S&amp;P 500" in html.get_content()
    assert chart["Content-ID"] == "<chart>"
    assert chart.get_content_disposition() == "inline"
    assert chart.get_content().startswith(b"\x89PNG\r\n")


def test_the_html_part_fits_a_telephone_and_a_wide_window(mail: EmailMessage) -> None:
    page = mail.get_body(("html",))
    assert page is not None
    html = page.get_content()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert re.search(r"max-width:\d+px;margin:0 auto;", html)
    assert "width:100%;height:auto" in html


def test_starttls_and_a_login(serve: Serve, mail: EmailMessage, authority: trustme.CA) -> None:
    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = data == LoginPassword(b"autoindex", b"sesame")
        return AuthResult(success=right, handled=right)

    secured = {
        "tls_context": _server_context(authority),
        "require_starttls": True,
        "authenticator": check,
        "auth_required": True,
    }
    login = {"smtp_user": "autoindex", "smtp_password": SecretStr("sesame")}
    inbox, settings = serve("starttls", settings=login, **secured)
    delivery.send(settings, mail)
    assert len(inbox.letters) == 1
    wrong = settings.model_copy(update={"smtp_password": SecretStr("wrong")})
    with pytest.raises(MailRefused, match="535") as refused:
        delivery.send(wrong, mail)
    assert "wrong" not in str(refused.value)


def test_tls_from_the_first_byte(serve: Serve, mail: EmailMessage, authority: trustme.CA) -> None:
    inbox, settings = serve("tls", ssl_context=_server_context(authority))
    delivery.send(settings, mail)
    assert len(inbox.letters) == 1


def test_a_certificate_nobody_trusts(serve: Serve, mail: EmailMessage) -> None:
    inbox, settings = serve("starttls", tls_context=_server_context(trustme.CA()))
    with pytest.raises(ConfigurationError, match="certificate"):
        delivery.send(settings, mail)
    assert inbox.letters == []


def test_starttls_is_not_skipped_where_the_server_has_none(
    serve: Serve, mail: EmailMessage
) -> None:
    inbox, settings = serve("starttls")
    with pytest.raises(MailRefused, match="STARTTLS"):
        delivery.send(settings, mail)
    assert inbox.letters == []


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("answer", "error"), [("451 later", MailUnavailable), ("550 never", MailRefused)]
)
def test_what_the_server_answers(
    serve: Serve, mail: EmailMessage, step: str, answer: str, error: type[Exception]
) -> None:
    inbox, settings = serve()
    inbox.answers[step] = answer
    with pytest.raises(error, match=answer.replace(" ", ": ")):
        delivery.send(settings, mail)


@pytest.mark.parametrize("code", ["451", "550"])
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("5.1.1 <bob.private@example.com>: no such user", "5.1.1 <***>: no such user"),
        ("5.1.1 Bob.Private@EXAMPLE.COM is unknown", "5.1.1 *** is unknown"),
        ("5.1.1 no mailbox bob.private here", "5.1.1 no mailbox *** here"),
        ("5.7.1 see https://x.example/?to=bob.private%40example.com", "?to=***%40example.com"),
        ("5.2.2 <bob@inside.example> is full", "5.2.2 <***> is full"),
        ('5.1.1 "bob private"@inside.example unknown', "5.1.1 *** unknown"),
    ],
)
def test_whom_the_mail_was_for_is_in_no_error(
    serve: Serve, content: ReportContent, report: Path, code: str, said: str, shown: str
) -> None:
    inbox, settings = serve()
    inbox.answers["RCPT"] = f"{code} {said}"
    mail = _mail(content, report, recipient="bob.private@example.com")
    with pytest.raises((MailRefused, MailUnavailable)) as raised:
        delivery.send(settings, mail)
    assert shown in str(raised.value)
    assert "bob" not in str(raised.value).lower()
    assert said in str(raised.value.__cause__)


def test_nor_where_the_server_takes_no_such_address(
    serve: Serve, content: ReportContent, report: Path
) -> None:
    _, settings = serve(enable_SMTPUTF8=False)
    mail = _mail(content, report, recipient="jürgen@example.com")
    with pytest.raises(MailRefused, match="takes only ASCII before the @") as raised:
        delivery.send(settings, mail)
    assert "jürgen" not in str(raised.value)


@pytest.mark.parametrize("utf8", [True, False])
@pytest.mark.parametrize("domain", ["bücher.example.com", "xn--bcher-kva.example.com"])
def test_a_domain_beyond_ascii_is_sent_to_in_ascii(
    serve: Serve, content: ReportContent, report: Path, domain: str, utf8: bool
) -> None:
    inbox, settings = serve(enable_SMTPUTF8=utf8)
    delivery.send(settings, _mail(content, report, recipient=f"Ann <ann@{domain}>"))
    assert inbox.letters[0].rcpt_tos == ["ann@xn--bcher-kva.example.com"]
    assert _arrived(inbox)["To"] == "Ann <ann@xn--bcher-kva.example.com>"


def test_a_mailbox_beyond_ascii_is_reached_where_the_server_can(
    serve: Serve, content: ReportContent, report: Path
) -> None:
    inbox, settings = serve(enable_SMTPUTF8=True)
    delivery.send(settings, _mail(content, report, recipient="jürgen@bücher.example.com"))
    assert inbox.letters[0].rcpt_tos == ["jürgen@xn--bcher-kva.example.com"]


def test_nobody_listens(mail: EmailMessage, serve: Serve) -> None:
    _, settings = serve()
    # Port 1 is reserved and refuses.
    with pytest.raises(MailUnavailable):
        delivery.send(settings.model_copy(update={"smtp_port": 1}), mail)
    nowhere = settings.model_copy(update={"smtp_host": "mail.invalid"})
    with pytest.raises(MailUnavailable):
        delivery.send(nowhere, mail)


def test_a_connection_lost_after_the_message_is_uncertain(serve: Serve, mail: EmailMessage) -> None:
    inbox, settings = serve()
    inbox.hang_up = True
    with pytest.raises(MailUncertain):
        delivery.send(settings, mail)
    assert len(inbox.letters) == 1


def test_without_a_server_in_the_settings(mail: EmailMessage) -> None:
    with pytest.raises(ConfigurationError, match="AUTOINDEX_SMTP_HOST"):
        delivery.send(Settings(smtp_host=None), mail)


def test_a_large_file_is_linked(
    content: ReportContent, report: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(delivery.LARGEST_ATTACHMENT_BYTES + 1)
    link = "https://example.org/report?a=1&b=2"
    mail = _mail(content, large, link=link)
    assert list(mail.iter_attachments()) == []
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert page is not None
    assert "too large to attach (10 MB)" in text.get_content()
    assert link in text.get_content()
    assert 'href="https://example.org/report?a=1&amp;b=2"' in page.get_content()
    assert "in the app" in str(_mail(content, large).get_body(("plain",)))


def test_one_mail_has_one_identity() -> None:
    sender = "Autoindex <autoindex@example.org>"
    one = delivery.message_id(TASK, "reader@example.com", sender)
    assert one == delivery.message_id(TASK, "Reader@example.com", sender)
    assert one != delivery.message_id(TASK, "other@example.com", sender)
    assert re.fullmatch(r"<00000000-0000-4000-8000-000000000001\.[0-9a-f]{12}@example\.org>", one)


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "nobody",
        "a@example.org, b@example.org",
        "a@example.org\r\nBcc: b@example.org",
        "=?utf-8?q?a=0ab?= <a@example.org>",
        "a@example.org\nSubject: x",
        "two words@example.org",
        "nul\x00@example.org",
        "\u202egro.elpmaxe@example.org",
        "=?utf-8?q?x?=@example.org",
        "=?utf-8?q?x?= <a@example.org>",
        '"quoted"@example.org',
        f"{'a' * 65}@example.org",
        f"a@{'b' * 64}.example.org",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@",
        "a..b@example.org",
    ],
)
def test_a_recipient_is_one_address(content: ReportContent, report: Path, recipient: str) -> None:
    with pytest.raises(MailRefused, match=r"^not a mail address, or more than one$"):
        _mail(content, report, recipient=recipient)


# Whatever a name holds, lines are only ended by us.
@given(name=st.text(max_size=60) | st.just("x\r\nBcc: b@example.org\r\n\r\nbody"))
def test_a_name_cannot_write_headers(content: ReportContent, name: str) -> None:
    from autoindex.reports.mail import body

    odd = content.model_copy(update={"title": name})
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["Subject"] = body.subject(odd)
    mail.set_content("body")
    lines = mail.as_bytes().split(b"\r\n\r\n")[0].split(b"\r\n")
    assert {line.split(b":")[0] for line in lines if not line.startswith(b" ")} <= {
        b"Subject",
        b"Content-Type",
        b"Content-Transfer-Encoding",
        b"MIME-Version",
    }
