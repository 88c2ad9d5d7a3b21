"""The mail to operators about a report that could not be made or sent."""

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP

from autoindex.reports.mail import delivery


def message(
    *,
    name: str,
    task: str,
    reason: str,
    link: str | None,
    sender: str,
    recipient: str,
    identity: str,
    sent_at: datetime,
) -> EmailMessage:
    """The message, a short text; `identity` is the Message-ID, `link` the run's page."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = " ".join(f"Autoindex failed: {name}".split())
    mail["From"] = delivery.address(sender)
    mail["To"] = delivery.address(recipient)
    mail["Message-ID"] = identity
    mail["Date"] = sent_at
    mail["Auto-Submitted"] = "auto-generated"
    lines = [
        f"The {name} has failed, and will not be retried.",
        f"Reason: {reason}",
        f"Task: {task}",
        f"Its log: {link}" if link else "Its log is in Prefect.",
    ]
    mail.set_content("\n\n".join(lines) + "\n")
    return mail
