"""What the server needs of mail. Without SMTP the operator gets the links from the command line."""

from __future__ import annotations

from typing import Literal, Protocol

Template = Literal["verify_email", "reset_password", "invitation", "deletion_receipt"]
"""What a mail is about."""


class Mailer(Protocol):
    """Sends mails. A mail has the address, a fixed text of its template and one link."""

    @property
    def is_configured(self) -> bool:
        """Whether mails are sent."""
        ...

    def send(self, to: str, template: Template, link: str) -> None:
        """Send a mail, or pass it to a queue. Does not raise, so that no response shows whether an address exists."""
        ...


class NoMailer:
    """Sends nothing and prints nothing."""

    @property
    def is_configured(self) -> bool:
        """False."""
        return False

    def send(self, to: str, template: Template, link: str) -> None:
        """Do nothing."""
