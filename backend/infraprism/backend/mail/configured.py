"""The mailer of the settings."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack

from infraprism.backend.mail.mailer import Mailer, NoMailer
from infraprism.backend.mail.smtp import SmtpMailer, SmtpServer
from infraprism.backend.preflight import StartupError
from infraprism.backend.settings import Settings


def mailer(settings: Settings, stack: ExitStack | AsyncExitStack) -> Mailer:
    """The mailer; the stack ends it. Without an SMTP server nothing is sent. Raises StartupError."""
    if settings.smtp is None:
        return NoMailer()
    if settings.mail_from is None:
        raise StartupError("INFRAPRISM_SMTP needs INFRAPRISM_MAIL_FROM, the sender of the mails")
    try:
        server = SmtpServer.parse(settings.smtp)
    except ValueError as error:
        raise StartupError(f"INFRAPRISM_SMTP must be {error}") from None
    try:
        created = SmtpMailer(server, settings.mail_from)
    except ValueError as error:
        raise StartupError(f"INFRAPRISM_MAIL_FROM must be {error}") from None
    stack.callback(created.close)
    return created
