"""Sending mail."""

from __future__ import annotations

import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final

from pandaserver.srvcore.errors import BadRequest, ExternalError

TIMEOUT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Mailer:
    """A mail server. ``server`` is host or host:port; empty: there is none, and nothing can be sent."""

    server: str
    sender: str
    timeout: float = TIMEOUT

    def send(self, recipient: str, subject: str, body: str) -> None:
        """Send one mail.

        Raises BadRequest if the server does not want this very mail, ExternalError if it may want it later.
        """
        if not self.server:
            raise ExternalError("no mail server is configured (emailSMTPsrv)")
        host, _, port = self.server.partition(":")
        message = EmailMessage()
        message["From"], message["To"] = self.sender, recipient
        message["Subject"] = " ".join(subject.split())  # a header is one line
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body)
        try:
            with smtplib.SMTP(host, int(port or 25), timeout=self.timeout) as smtp:
                smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            if all(code >= 500 for code in codes):
                raise BadRequest(f"mail to {recipient} is refused: {error.recipients}") from error
            raise ExternalError(f"mail to {recipient} is refused for now: {error.recipients}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise ExternalError(f"mail server {self.server}: {error!r}") from error
