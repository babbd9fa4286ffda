"""The settings of mail and of Stripe, from the environment only: they have passwords."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def third_party_settings(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The arguments of Settings."""

    def value(name: str) -> str | None:
        return environment.get(name, "").strip() or None

    return {
        "smtp": value("INFRAPRISM_SMTP"),
        "mail_from": value("INFRAPRISM_MAIL_FROM"),
        "stripe_key": value("INFRAPRISM_STRIPE_KEY"),
        "stripe_webhook_secret": value("INFRAPRISM_STRIPE_WEBHOOK_SECRET"),
        "stripe_prices": value("INFRAPRISM_STRIPE_PRICES"),
    }
