"""The services that an operator can turn on. All are off by default."""

from __future__ import annotations

from typing import Final, NamedTuple


class ThirdParty(NamedTuple):
    """A service: what it is for, what it gets, and the setting without which it gets nothing."""

    name: str
    purpose: str
    data: str
    setting: str


THIRD_PARTIES: Final = (
    ThirdParty(
        "AWS, or other storage with the API of S3",
        "Backups",
        "Event data, encrypted before it leaves the server",
        "INFRAPRISM_BACKUP_TO",
    ),
    ThirdParty("Stripe", "Payment processing", "Payment information only", "INFRAPRISM_STRIPE_KEY"),
    ThirdParty("SendGrid, or another SMTP relay", "Email delivery", "Email address only", "INFRAPRISM_SMTP"),
    ThirdParty(
        "Cloudflare, or another proxy",
        "CDN, DDoS protection",
        "IP addresses; the backend does not store them",
        "INFRAPRISM_CLIENT_ADDRESS_HEADER",
    ),
)
