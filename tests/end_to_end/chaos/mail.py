"""A mail server that counts what it takes in, and can be away or lose its answers."""

from collections import Counter
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.ports import free_port


class MailServer:
    """aiosmtpd's; `mails` are how many it has taken in by task."""

    def __init__(self) -> None:
        self.mails: Counter[str] = Counter()
        self.loses_answers = False
        self.port = free_port()
        self.start()

    def __str__(self) -> str:
        return "mail server"

    def start(self) -> None:
        """Listen, on the same port each time."""
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        """Be away."""
        self._controller.stop()

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail in; nobody is told where answers are lost."""
        content: Any = envelope.content
        (line,) = [line for line in content.splitlines() if line.lower().startswith(b"message-id:")]
        self.mails[line.split(b"<")[1].split(b".")[0].decode()] += 1
        if self.loses_answers and server.transport is not None:
            server.transport.abort()
        return "250 OK"
