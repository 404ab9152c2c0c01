"""Orders by mail, through the district's own mail server."""

import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from command_centre.notify.delivery import DeliveryError, Receipt

TIMEOUT_S = 10.0


def mail(subject: str, text: str, *, sender: str, recipient: str, key: str, now: datetime) -> EmailMessage:
    """The mail of one message, under one Message-ID for every attempt; DeliveryError for a bad address."""
    letter = EmailMessage()
    try:
        letter["From"] = sender
        letter["To"] = recipient
        letter["Subject"] = subject
    except (ValueError, IndexError) as error:
        raise DeliveryError(f"the mail address or a heading cannot be used: {error}", retry=False) from error
    letter["Date"] = format_datetime(now)
    letter["Message-ID"] = f"<{key}@city>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(text)
    return letter


def send(url: str, letter: EmailMessage) -> Receipt:
    """Hand the mail over; blocks up to ten seconds a step, so call it in a thread. Raises DeliveryError.

    ``url`` is smtp://user:pass@host:587 (STARTTLS is used where offered) or smtps://host:465.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port
    try:
        context = ssl.create_default_context()
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port or 465, timeout=TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(host, port or 25, timeout=TIMEOUT_S)
        with server:
            server.ehlo()
            if parts.scheme != "smtps" and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(letter)
    except smtplib.SMTPResponseException as error:
        words = (
            error.smtp_error.decode("utf-8", "replace")
            if isinstance(error.smtp_error, bytes)
            else error.smtp_error
        )
        raise DeliveryError(
            f"mail server answered {error.smtp_code}: {words[:200]}", retry=error.smtp_code < 500
        ) from error
    except smtplib.SMTPRecipientsRefused as error:
        code = next((answer[0] for answer in error.recipients.values()), 550)
        raise DeliveryError(f"mail server refused the recipient ({code})", retry=code < 500) from error
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(f"mail: {type(error).__name__} {str(error)[:200]}", retry=True) from error
    return Receipt(status="250", words=f"accepted by {host}")
