"""The texts of mails. None has a value of the account."""

from __future__ import annotations

from typing import Final, NamedTuple

from infraprism.backend.mail.mailer import Template

_IGNORE: Final = "If you did not ask for this, ignore this mail."


class Text(NamedTuple):
    """The subject, and what comes before and after the link."""

    subject: str
    before: str
    after: str


TEXTS: Final[dict[Template, Text]] = {
    "verify_email": Text(
        "Confirm your email address", "Confirm the email address of your InfraPrism account:", _IGNORE
    ),
    "reset_password": Text("Set a new password", "Set a new password of your InfraPrism account:", _IGNORE),
    "invitation": Text("You are invited to InfraPrism", "Set a password to join an InfraPrism account:", _IGNORE),
    "deletion_receipt": Text(
        "Your InfraPrism account was deleted",
        "The receipt of the deletion:",
        "Keep it. `infraprism receipt verify` verifies it.",
    ),
}
"""The text of each template."""
