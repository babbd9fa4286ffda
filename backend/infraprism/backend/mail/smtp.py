"""Mail by an SMTP server or relay, such as SendGrid's. A thread sends, so that no request waits for it."""

from __future__ import annotations

import logging
import smtplib
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from queue import Empty, Full, Queue
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from infraprism.backend.mail.mailer import Template
from infraprism.backend.mail.templates import TEXTS
from infraprism.backend.networks import is_loopback

_log: Final = logging.getLogger(__name__)
_WAITS_S: Final = (1.0, 5.0, 30.0, 120.0)
"""Between attempts. After the last one a mail is dropped: the member asks for another link."""
_WAITING_MAILS: Final = 1000
_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 5.0
_PERMANENT: Final = 500
_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
_NO_TRACKING: Final = (
    '{"filters": {"clicktrack": {"settings": {"enable": 0}}, "opentrack": {"settings": {"enable": 0}}}}'
)
"""SendGrid replaces links and adds an image by default, to record who opens a mail."""
EXPECTED: Final = "smtps://user:password@host:465, or smtp://user:password@host:587 (STARTTLS)"


class SmtpServer(NamedTuple):
    """An SMTP server. `none`: without TLS, only on this machine."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str
    password: str

    @classmethod
    def parse(cls, url: str) -> SmtpServer:
        """The server of a URL. Raises ValueError, which has no part of the URL."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError(EXPECTED) from None
        if parts.scheme not in ("smtp", "smtps") or not host or parts.path.strip("/") or parts.query:
            raise ValueError(EXPECTED)
        security: Literal["starttls", "tls", "none"] = "tls" if parts.scheme == "smtps" else "starttls"
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if security == "starttls" and not user and is_loopback(host):
            security = "none"
        return cls(host, port or _PORTS[security], security, user, password)


class _Mail(NamedTuple):
    to: str
    template: Template
    link: str


class SmtpMailer:
    """Sends mails with a fixed text and one link. The address is the only personal data in it.

    A mail that cannot be sent now is tried again, at most five times in all, then it is dropped. Neither an address nor
    a link is logged. `wait` sleeps some seconds, or less if the event is set.
    """

    is_configured: Final = True

    def __init__(
        self,
        server: SmtpServer,
        sender: str,
        *,
        context: ssl.SSLContext | None = None,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        """Raises ValueError if `sender` is not an address."""
        self._sender = _address(sender)
        self._server = server
        self._context = context or ssl.create_default_context()
        self._wait = wait
        self._queue: Queue[_Mail | None] = Queue(_WAITING_MAILS)
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="infraprism-mail", daemon=True)
        self._thread.start()

    def send(self, to: str, template: Template, link: str) -> None:
        """Pass a mail to the thread. Does not raise."""
        try:
            self._queue.put_nowait(_Mail(to, template, link))
        except Full:
            _log.warning("a mail (%s) was dropped: %d mails are waiting", template, _WAITING_MAILS)

    def close(self) -> None:
        """Send the waiting mails, without further attempts, and stop the thread. Waits a few seconds at most."""
        self._stops.set()
        with suppress(Full):  # the thread ends when the queue is empty
            self._queue.put_nowait(None)
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        while True:
            try:
                mail = self._queue.get(timeout=0 if self._stops.is_set() else None)
            except Empty:
                return
            if mail is None:
                return
            self._send(mail)

    def _send(self, mail: _Mail) -> None:
        cause = "an invalid address"
        try:
            message = _message(mail, self._sender)
        except (ValueError, MessageError):
            _log.warning("a mail (%s) was dropped: %s", mail.template, cause)
            return
        for wait_s in (*_WAITS_S, None):
            try:
                self._deliver(message, mail.to)
            except smtplib.SMTPRecipientsRefused as error:
                code = next(iter(error.recipients.values()))[0]
                cause, is_final = f"SMTP code {code}", code >= _PERMANENT
            except smtplib.SMTPResponseException as error:
                cause, is_final = f"SMTP code {error.smtp_code}", error.smtp_code >= _PERMANENT
            except (smtplib.SMTPException, OSError) as error:
                # The class only: the text of an error may have an address.
                cause, is_final = type(error).__name__, isinstance(error, smtplib.SMTPNotSupportedError)
            else:
                return
            if is_final or wait_s is None or self._stops.is_set():
                break
            self._wait(self._stops, wait_s)
        _log.warning("a mail (%s) was dropped: %s; check INFRAPRISM_SMTP", mail.template, cause)

    def _deliver(self, message: EmailMessage, to: str) -> None:
        server, domain = self._server, self._sender.domain
        connection: smtplib.SMTP
        if server.security == "tls":
            connection = smtplib.SMTP_SSL(
                server.host, server.port, local_hostname=domain, timeout=_TIMEOUT_S, context=self._context
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, local_hostname=domain, timeout=_TIMEOUT_S)
        with connection:
            if server.security == "starttls":
                connection.starttls(context=self._context)  # raises unless the server supports it
            if server.user:
                connection.login(server.user, server.password)
            connection.send_message(message, self._sender.addr_spec, [to])


def _address(text: str) -> Address:
    """Raises ValueError, without the text."""
    try:
        found = Address(addr_spec=text)
    except (ValueError, MessageError, IndexError):
        raise ValueError("an email address such as noreply@example.com") from None
    if not found.domain:
        raise ValueError("an email address such as noreply@example.com")
    return found


def _message(mail: _Mail, sender: Address) -> EmailMessage:
    text = TEXTS[mail.template]
    message = EmailMessage()
    message["From"] = Address("InfraPrism", addr_spec=sender.addr_spec)
    message["To"] = _address(mail.to)
    message["Subject"] = text.subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.domain)
    message["Auto-Submitted"] = "auto-generated"
    message["X-SMTPAPI"] = _NO_TRACKING
    message.set_content(f"{text.before}\n\n{mail.link}\n\n{text.after}\n", cte="8bit")
    return message
