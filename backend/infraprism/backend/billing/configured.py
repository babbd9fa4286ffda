"""Billing by the settings of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.errors import RefusedError
from infraprism.backend.accounts.organisations import Organisations
from infraprism.backend.accounts.permissions import OWNER, SCOPES, Principal
from infraprism.backend.accounts.plans import ENTERPRISE, FREE, PLANS
from infraprism.backend.audit.audit_log import SYSTEM, AuditLog
from infraprism.backend.preflight import StartupError
from infraprism.backend.settings import Settings

if TYPE_CHECKING:
    from infraprism.backend.billing.billing import Billing

_EXPECTED: Final = "INFRAPRISM_STRIPE_PRICES must be price_...=PLAN,price_...=PLAN, with plans of this server"
_BY_STRIPE: Final = Principal(SYSTEM, OWNER, frozenset(SCOPES))


class AccountPlans:
    """Sets the plans of accounts. One with the plan `enterprise` has a contract, which Stripe does not change."""

    def __init__(self, organisations: Organisations) -> None:
        self._organisations = organisations

    def set_plan(self, account_id: str, plan: str) -> None:
        """See billing.Plans. Nothing happens for an account that was deleted."""
        try:
            if self._organisations.find(account_id).plan not in (plan, ENTERPRISE):
                self._organisations.set_plan(account_id, _BY_STRIPE, plan)
        except RefusedError:
            return


def billing(settings: Settings, accounts: Accounts) -> Billing | None:
    """The billing of the settings; None unless all three settings of Stripe are set. Raises StartupError."""
    given = (settings.stripe_key, settings.stripe_webhook_secret, settings.stripe_prices)
    if not any(given):
        return None
    if settings.stripe_key is None or settings.stripe_webhook_secret is None or settings.stripe_prices is None:
        raise StartupError(
            "INFRAPRISM_STRIPE_KEY, INFRAPRISM_STRIPE_WEBHOOK_SECRET and INFRAPRISM_STRIPE_PRICES belong together:"
            " set all of them"
        )
    plans = _plans(settings.stripe_prices)
    try:
        from infraprism.backend.billing.billing import Billing, StripeSettings  # noqa: PLC0415 - an extra package
    except ModuleNotFoundError:
        raise StartupError("stripe is missing: pip install 'infraprism-opentelemetry[billing]'") from None
    organisations = Organisations(accounts, AuditLog(accounts.database, accounts.clock))
    stripe = StripeSettings(settings.stripe_key, settings.stripe_webhook_secret, plans)
    return Billing(stripe, accounts.database, AccountPlans(organisations), FREE)


def _plans(text: str) -> dict[str, str]:
    """The plan of each price. Raises StartupError."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    found = {price.strip(): plan.strip() for price, _, plan in pairs}
    if not found or not all(price.startswith("price_") and plan in PLANS for price, plan in found.items()):
        raise StartupError(_EXPECTED)
    return found
