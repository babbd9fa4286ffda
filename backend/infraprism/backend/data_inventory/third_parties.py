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
    ThirdParty("Stripe", "payment processing", "payment information only; InfraPrism stores the customer id", ""),
    ThirdParty("SendGrid or another SMTP relay", "email delivery", "email address and one link only", ""),
    ThirdParty("Cloudflare", "CDN, DDoS protection", "IP addresses, which are not stored", ""),
    ThirdParty("AWS S3 or compatible storage", "backups", "event data, encrypted before it leaves the server", ""),
)
