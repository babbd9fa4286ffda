"""Mail through a real SMTP server: what a mail has, how it is encrypted, and what happens if it cannot be sent."""

from __future__ import annotations

import email
import email.policy
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from queue import Queue
from typing import Any, get_args

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from tests.kit.ports import free_port

from infraprism.backend.mail.mailer import Template
from infraprism.backend.mail.smtp import EXPECTED, SmtpMailer, SmtpServer
from infraprism.backend.mail.templates import TEXTS

TO = "grace@example.org"
SENDER = "noreply@example.com"
LINK = "https://infraprism.example.com/reset#token=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PASSWORD = "p@ss/word"


class Received:
    """The handler of the server. `replies` are the answers to the next mails; then they are accepted."""

    def __init__(self) -> None:
        self.mails: Queue[tuple[bool, list[str], bytes]] = Queue()
        self.replies: list[str] = []
        self.attempts = 0

    async def handle_RCPT(  # noqa: N802  # the name that aiosmtpd calls
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        self.attempts += 1
        if self.replies:
            return self.replies.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # as above
        self.mails.put((session.ssl is not None, envelope.rcpt_tos, envelope.content))
        return "250 OK"


@pytest.fixture
def received() -> Received:
    return Received()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def _server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    is_valid = isinstance(data, LoginPassword) and data.login == b"apikey" and data.password == PASSWORD.encode()
    return AuthResult(success=is_valid)


@contextmanager
def server(received: Received, **options: Any) -> Iterator[int]:
    controller = Controller(received, hostname="localhost", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextmanager
def mailer(
    url: str, authority: trustme.CA | None = None, wait: Callable[..., object] | None = None
) -> Iterator[SmtpMailer]:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    named: dict[str, Any] = {} if wait is None else {"wait": wait}
    sending = SmtpMailer(SmtpServer.parse(url), SENDER, context=context, **named)
    try:
        yield sending
    finally:
        sending.close()


def parsed(content: bytes) -> EmailMessage:
    found = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


@pytest.mark.parametrize("template", get_args(Template))
def test_a_mail_has_a_fixed_text_and_the_link_and_of_the_member_only_the_address(
    received: Received, template: Template
) -> None:
    with server(received) as port, mailer(f"smtp://localhost:{port}") as sending:
        sending.send(TO, template, LINK)
        encrypted, recipients, content = received.mails.get(timeout=20)
    assert (encrypted, recipients) == (False, [TO])
    message = parsed(content)
    assert message["From"] == f"InfraPrism <{SENDER}>"
    assert (message["To"], message["Subject"]) == (TO, TEXTS[template].subject)
    assert message.get_content_type() == "text/plain"
    text = TEXTS[template]
    assert message.get_content().split() == f"{text.before} {LINK} {text.after}".split()
    assert content.count(TO.encode()) == 1
    assert not any(character.isdigit() for character in f"{text.subject}{text.before}{text.after}")
    assert '"clicktrack": {"settings": {"enable": 0}}' in message["X-SMTPAPI"]


def test_starttls_and_a_password_are_used_as_with_the_relay_of_sendgrid(
    received: Received, authority: trustme.CA
) -> None:
    options = {
        "tls_context": _server_context(authority),
        "require_starttls": True,
        "authenticator": _authenticate,
        "auth_required": True,
    }
    with (
        server(received, **options) as port,
        mailer(f"smtp://apikey:p%40ss%2Fword@localhost:{port}", authority) as sending,
    ):
        sending.send(TO, "verify_email", LINK)
        assert received.mails.get(timeout=20)[:2] == (True, [TO])


def test_tls_from_the_first_byte_is_used(received: Received, authority: trustme.CA) -> None:
    encrypted = server(received, ssl_context=_server_context(authority))
    with encrypted as port, mailer(f"smtps://localhost:{port}", authority) as sending:
        sending.send(TO, "verify_email", LINK)
        assert received.mails.get(timeout=20)[1] == [TO]


def test_nothing_is_sent_to_a_server_with_another_certificate_or_without_tls(
    received: Received, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    waits = Queue[float]()

    def wait(_: threading.Event, seconds: float) -> None:
        waits.put(seconds)

    other = server(received, tls_context=_server_context(authority))
    with other as port, mailer(f"smtp://a:b@localhost:{port}", wait=wait) as sending:
        sending.send(TO, "verify_email", LINK)
        assert [waits.get(timeout=20) for _ in range(4)] == [1.0, 5.0, 30.0, 120.0]
    with server(received) as port, mailer(f"smtp://a:b@localhost:{port}", wait=wait) as sending:
        sending.send(TO, "verify_email", LINK)
    assert received.mails.empty()
    assert received.attempts == 0
    assert "SSLCertVerificationError" in caplog.text
    assert "SMTPNotSupportedError" in caplog.text


def test_a_temporary_error_is_tried_again(received: Received) -> None:
    received.replies = ["451 try again", "421 busy"]
    with server(received) as port, mailer(f"smtp://localhost:{port}", wait=lambda *_: None) as sending:
        sending.send(TO, "verify_email", LINK)
        assert received.mails.get(timeout=20)[1] == [TO]
    assert received.attempts == 3


@pytest.mark.parametrize("reply", [f"550 no such user {TO}", f"451 {TO} is busy"])
def test_a_dropped_mail_is_logged_without_the_address_and_the_link(
    received: Received, caplog: pytest.LogCaptureFixture, reply: str
) -> None:
    received.replies = [reply] * 9

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name.startswith("infraprism")]

    at_debug = caplog.at_level(logging.DEBUG)
    with at_debug, server(received) as port, mailer(f"smtp://localhost:{port}", wait=lambda *_: None) as sending:
        sending.send(TO, "reset_password", LINK)
        sending.send("no address", "reset_password", LINK)
        sending.send(f"{TO}\r\nBcc: eve@example.org", "reset_password", LINK)
        deadline = time.monotonic() + 20
        while len(lines()) < 3 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
    assert lines()[0] == f"a mail (reset_password) was dropped: SMTP code {reply[:3]}; check INFRAPRISM_SMTP"
    assert lines()[1:] == ["a mail (reset_password) was dropped: an invalid address"] * 2
    assert received.attempts == (1 if reply.startswith("5") else 5)
    assert received.mails.empty()


def test_a_request_never_waits_for_the_server(tmp_path: Path) -> None:
    ends = threading.Event()
    with mailer("smtp://localhost:1", wait=lambda *_: ends.wait(20)) as sending:
        for _ in range(3000):
            sending.send(TO, "verify_email", LINK)
        ends.set()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://apikey:SG.x@smtp.sendgrid.net", ("smtp.sendgrid.net", 587, "starttls", "apikey", "SG.x")),
        ("smtps://smtp.example.com", ("smtp.example.com", 465, "tls", "", "")),
        ("smtp://127.0.0.1:1025", ("127.0.0.1", 1025, "none", "", "")),
    ],
)
def test_the_url_names_the_server_and_its_encryption(url: str, expected: tuple[object, ...]) -> None:
    assert tuple(SmtpServer.parse(url)) == expected


@pytest.mark.parametrize(
    "url", ["", "smtp://", "http://h", "smtp://h:port", "smtp://u:secret@h/path", "smtp://h?x=secret"]
)
def test_another_url_is_an_error_without_its_text(url: str) -> None:
    with pytest.raises(ValueError, match="smtps://") as error:
        SmtpServer.parse(url)
    assert str(error.value) == EXPECTED


def test_a_sender_that_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^an email address such as"):
        SmtpMailer(SmtpServer.parse("smtp://localhost"), "InfraPrism")
