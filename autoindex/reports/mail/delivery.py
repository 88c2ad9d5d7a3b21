"""Delivery of reports by mail: builds the message, and hands it over to the mail server.

The caller claims the delivery first (see the table `deliveries`). Task and recipient determine the
Message-ID, so that mail programs recognise a mail that is sent twice after all.
"""

import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from autoindex import mail_address
from autoindex.errors import ConfigurationError, MailRefused, MailUnavailable, MailUncertain
from autoindex.reports.content import ReportContent
from autoindex.reports.files import KINDS, suggested_name
from autoindex.reports.mail import body
from autoindex.requests import ReportFormat
from autoindex.settings import Settings

LARGEST_ATTACHMENT_BYTES: Final = 10 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 30.0
_CHART: Final = "chart"
_ADDRESS: Final = re.compile(r'(?:"[^"]*"|[^\s<>"(),:;]+)@[^\s<>"(),:;]+')
_HIDDEN: Final = "***"
_LONGEST_SAID: Final = 500
# A shorter mailbox may be part of any sentence.
_SHORTEST_MAILBOX: Final = 3


def message_id(task_id: UUID, recipient: str, sender: str) -> str:
    """The Message-ID of the one mail a task sends to a recipient."""
    of_recipient = sha256(recipient.lower().encode()).hexdigest()[:12]
    return f"<{task_id}.{of_recipient}@{address(sender).domain}>"


def message(
    content: ReportContent,
    report_format: ReportFormat,
    path: Path,
    *,
    sender: str,
    recipient: str,
    identity: str,
    sent_at: datetime,
    link: str | None = None,
) -> EmailMessage:
    """The mail: text and HTML with the headline and a chart, and the file at `path`.

    `identity` is the Message-ID. A file above 10 MiB is left out, and the mail names `link`, or the
    app without one. Raises `MailRefused` where `recipient` is not exactly one address.
    """
    attached = path.stat().st_size <= LARGEST_ATTACHMENT_BYTES
    if attached:
        link = None  # the file is in the mail
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = body.subject(content)
    mail["From"] = address(sender)
    mail["To"] = address(recipient)
    mail["Message-ID"] = identity
    mail["Date"] = sent_at
    mail["Auto-Submitted"] = "auto-generated"
    name = suggested_name(content, report_format)
    where = _where(name, path, attached=attached, link=link)
    mail.set_content(body.text(content, where if link is None else f"{where}\n{link}"))
    mail.add_alternative(body.html(content, where, link, _CHART), subtype="html")
    *_, page = mail.iter_parts()
    page.add_related(
        body.chart(content),
        "image",
        "png",
        cid=f"<{_CHART}>",
        filename="chart.png",
        disposition="inline",
    )
    if attached:
        kind, _, subtype = KINDS[report_format].media_type.partition("/")
        mail.add_attachment(path.read_bytes(), kind, subtype, filename=name)
    return mail


def _where(name: str, path: Path, *, attached: bool, link: str | None) -> str:
    if attached:
        return f"The report is attached: {name}."
    size = path.stat().st_size / 1024**2
    place = "here:" if link else "in the app."
    return f"The report is too large to attach ({size:.0f} MB); it is {place}"


def address(written: str) -> Address:
    """One address, with or without a name, that cannot end a header line.

    Raises `MailRefused`, whose text does not show the address: others than its owner may see it.
    """
    try:
        return mail_address.parse(written)
    except ValueError as error:
        raise MailRefused("not a mail address, or more than one") from error


def send(settings: Settings, mail: EmailMessage) -> None:
    """Hand `mail` to the mail server of the settings.

    Raises `MailUnavailable` (worth a retry: nothing was accepted), `MailRefused` (permanent), or
    `MailUncertain` where the connection broke before the server confirmed the message. Their texts
    name no address, because everyone who may see the task sees them; their causes may.
    """
    if settings.smtp_host is None:
        raise ConfigurationError("AUTOINDEX_SMTP_HOST is not set: there is no mail server to use")
    with _refusals(_recipient(mail)), _connected(settings, settings.smtp_host) as server:
        _envelope(server, mail)
        body = mail.as_bytes(policy=SMTPUTF8 if _needs_utf8(mail) else SMTP)
        with _handed_over():
            code, answer = server.data(body)
        if code != 250:
            raise smtplib.SMTPDataError(code, answer)


def _envelope(server: smtplib.SMTP, mail: EmailMessage) -> None:
    sender, recipient = _spec(mail, "From"), _spec(mail, "To")
    options = ["SMTPUTF8", "BODY=8BITMIME"] if _needs_utf8(mail) else []
    if options and not server.has_extn("smtputf8"):
        raise MailRefused("the mail server takes only ASCII before the @ of an address")
    _answered(server.mail(sender, options))
    _answered(server.rcpt(recipient))


def _answered(answer: tuple[int, bytes]) -> None:
    code, said = answer
    if code not in (250, 251):
        raise smtplib.SMTPResponseException(code, said)


def _needs_utf8(mail: EmailMessage) -> bool:
    return not (_spec(mail, "From") + _spec(mail, "To")).isascii()


def _recipient(mail: EmailMessage) -> Address:
    found: Address = mail["To"].addresses[0]
    return found


def _spec(mail: EmailMessage, header: str) -> str:
    spec: str = mail[header].addresses[0].addr_spec
    return spec


@contextmanager
def _connected(settings: Settings, host: str) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context()
    make: Any = smtplib.SMTP
    more: dict[str, Any] = {}
    if settings.smtp_security == "tls":
        make, more = smtplib.SMTP_SSL, {"context": context}
    server: smtplib.SMTP = make(host, settings.smtp_port, timeout=_TIMEOUT_SECONDS, **more)
    try:
        if settings.smtp_security == "starttls":
            server.starttls(context=context)
        if settings.smtp_user is not None:
            password = settings.smtp_password
            server.login(settings.smtp_user, password.get_secret_value() if password else "")
        server.ehlo_or_helo_if_needed()
        yield server
        # The mail is accepted by now; how the connection ends no longer matters.
        with suppress(OSError, smtplib.SMTPException):
            server.quit()
    finally:
        server.close()


@contextmanager
def _handed_over() -> Iterator[None]:
    """A connection that breaks in here leaves open whether the mail was accepted."""
    try:
        yield
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        if isinstance(error, smtplib.SMTPResponseException):
            raise
        raise MailUncertain(
            f"the mail server broke off before it confirmed: {error}; the mail may have been sent"
        ) from error


@contextmanager
def _refusals(recipient: Address) -> Iterator[None]:
    """Raise our errors for those of smtplib, without the recipient's address."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(
            f"the mail server's certificate is not trusted: {error}"
        ) from error
    except smtplib.SMTPResponseException as error:
        raise _by_code(error.smtp_code, error.smtp_error, recipient) from error
    except smtplib.SMTPNotSupportedError as error:
        said = _without_addresses(str(error), recipient)
        raise MailRefused(f"the mail server does not support the settings: {said}") from error
    except OSError as error:
        # smtplib's other errors are OSErrors too: a lost connection, no answer, no such host.
        said = _without_addresses(str(error), recipient)
        raise MailUnavailable(f"the mail server could not be reached: {said}") from error


def _by_code(code: int, said: bytes | str, recipient: Address) -> MailRefused | MailUnavailable:
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    text = f"the mail server said {code}: {_without_addresses(words, recipient)}"
    return MailRefused(text) if 500 <= code < 600 else MailUnavailable(text)


def _without_addresses(said: str, recipient: Address) -> str:
    """A server's reply without addresses: it may name the one that it forwards the mail to.

    Some servers name the mailbox alone, or write the address in an invalid form.
    """
    hidden = _ADDRESS.sub(_HIDDEN, said[:_LONGEST_SAID])
    if len(recipient.username) < _SHORTEST_MAILBOX:
        return hidden
    mailbox = rf"(?<!\w){re.escape(recipient.username)}(?!\w)"
    return re.sub(mailbox, _HIDDEN, hidden, flags=re.IGNORECASE)
