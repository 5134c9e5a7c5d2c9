"""Alerts as e-mail, in plain text."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from closedloop.defence.alerts.alert import Alert
from closedloop.defence.alerts.sink import NotDelivered


class Security(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"  # and nothing is sent where the server does not offer it
    TLS = "tls"  # from the first byte
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Mail:
    """Sends alerts through a mail server.

    Parameters
    ----------
    ca_file : Path, optional
        Whose certificates are trusted, in the place of the system's.
    timeout_s : float
        Of each wait for the server.
    """

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    security: Security = Security.STARTTLS
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    timeout_s: float = 15.0

    @property
    def address(self) -> str:
        """The server and who gets the mail."""
        return f"{', '.join(self.to)} by {self.host}:{self.port}"

    def send(self, alert: Alert) -> None:
        """Send an alert.

        Raises
        ------
        NotDelivered
            The server cannot be reached, or refuses it.
        """
        import smtplib
        import ssl
        from email.message import EmailMessage
        from email.utils import formatdate

        message = EmailMessage()
        message["Subject"] = alert.subject
        message["From"] = self.sender
        message["To"] = ", ".join(self.to)
        message["Date"] = formatdate(alert.created_at)
        message["Message-ID"] = f"<{alert.id}@closedloop>"  # mail programs drop a second one
        message["Auto-Submitted"] = "auto-generated"  # no holiday notices in return
        message.set_content(alert.body)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            wrapped = self.security is Security.TLS
            server = (
                smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=context)
                if wrapped
                else smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
            )
            with server:
                if self.security is Security.STARTTLS:
                    server.starttls(context=context)
                if self.user:
                    server.login(self.user, self.password)
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            raise self._failed("refused every address", is_final=min(codes) >= 500) from error
        except smtplib.SMTPResponseException as error:
            # What the server says may repeat what was sent to it; its code is enough.
            said = f"answered {error.smtp_code}"
            raise self._failed(said, is_final=error.smtp_code >= 500) from error
        except (smtplib.SMTPException, OSError) as error:
            raise self._failed(f"failed: {type(error).__name__}", is_final=False) from error
        if refused:
            # The others have it: sending it again would reach them twice.
            raise self._failed(f"refused {', '.join(sorted(refused))}", is_final=True)

    def _failed(self, what: str, *, is_final: bool) -> NotDelivered:
        return NotDelivered(
            f"The mail server {self.host}:{self.port} {what}.",
            remedy="Check host, port, security, user and password in alerts.yaml.",
            is_final=is_final,
        )
