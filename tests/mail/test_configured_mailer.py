"""Mail is off unless an SMTP server is set."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from infraprism.backend.mail.configured import mailer
from infraprism.backend.mail.mailer import NoMailer
from infraprism.backend.preflight import StartupError
from infraprism.backend.settings import Settings

SMTP = "smtp://user:the-secret@smtp.example.com"


def test_without_a_server_nothing_is_sent() -> None:
    with ExitStack() as stack:
        found = mailer(Settings(data_dir=Path()), stack)
    assert isinstance(found, NoMailer)
    assert not found.is_configured


def test_with_a_server_mail_is_configured() -> None:
    with ExitStack() as stack:
        assert mailer(Settings(data_dir=Path(), smtp=SMTP, mail_from="noreply@example.com"), stack).is_configured


@pytest.mark.parametrize(
    ("smtp", "sender", "variable"),
    [
        (SMTP, None, "INFRAPRISM_MAIL_FROM"),
        (SMTP, "noreply", "INFRAPRISM_MAIL_FROM"),
        ("http://the-secret@smtp.example.com", "noreply@example.com", "INFRAPRISM_SMTP"),
    ],
)
def test_settings_that_cannot_be_used_are_named_without_the_password(
    smtp: str, sender: str | None, variable: str
) -> None:
    with ExitStack() as stack, pytest.raises(StartupError, match=variable) as error:
        mailer(Settings(data_dir=Path(), smtp=smtp, mail_from=sender), stack)
    assert "the-secret" not in str(error.value)
    assert "the-secret" not in repr(Settings(data_dir=Path(), smtp=smtp))
