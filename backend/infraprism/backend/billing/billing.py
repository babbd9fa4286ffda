"""Checkout, the customer portal and the webhooks of Stripe."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

import stripe

from infraprism.backend.billing.customers import Customers
from infraprism.backend.relational.database import RelationalDatabase

_log: Final = logging.getLogger(__name__)
_TIMEOUT_S: Final = 20
_RETRIES: Final = 2
_TOLERANCE_S: Final = 300
"""Of the age of a webhook's signature: an older one is a replay."""
_ACCOUNT: Final = "account_id"
_PAID: Final = frozenset({"active", "trialing", "past_due"})
"""The states of a subscription in which its plan is used. Stripe ends one that stays unpaid."""
_SUBSCRIPTION: Final = "customer.subscription."
Outcome = Literal["applied", "ignored"]


class BillingError(Exception):
    """Stripe cannot be used now. The message has nothing of the request."""


class SignatureError(Exception):
    """A webhook that Stripe has not signed, or that is too old."""


class Plans(Protocol):
    """What billing needs of accounts."""

    def set_plan(self, account_id: str, plan: str) -> None:
        """Set the plan that the account pays for, and record it. Does nothing if the account has it already."""
        ...


class StripeSettings(NamedTuple):
    """The secret key, the secret of the webhook, and the plan of each price. `api` is another server, for tests."""

    key: str
    webhook_secret: str
    plans: Mapping[str, str]
    api: str | None = None


class Billing:
    """Sends Stripe the id of the account, and nothing else of it. Stores the id of the customer, and nothing else."""

    def __init__(self, settings: StripeSettings, database: RelationalDatabase, plans: Plans, free_plan: str) -> None:
        # Its default sends the time of requests and the name of this machine with each request.
        stripe.enable_telemetry = False
        self._settings = settings
        self._database = database
        self._plans = plans
        self._free_plan = free_plan
        self._customers = Customers(database)
        self._client = stripe.StripeClient(
            settings.key,
            http_client=stripe.RequestsClient(timeout=_TIMEOUT_S),
            max_network_retries=_RETRIES,
            base_addresses={"api": settings.api} if settings.api else {},
        )

    @property
    def plans(self) -> tuple[str, ...]:
        """The plans that have a price."""
        return tuple(self._settings.plans.values())

    def checkout(self, account_id: str, plan: str, return_url: str) -> str:
        """The URL of Stripe's page on which the plan is bought. Raises BillingError."""
        price = next(price for price, name in self._settings.plans.items() if name == plan)
        customer = self._customers.of_account(account_id)
        parameters: Any = {
            "mode": "subscription",
            "line_items": [{"price": price, "quantity": 1}],
            "client_reference_id": account_id,
            "subscription_data": {"metadata": {_ACCOUNT: account_id}},
            "success_url": return_url,
            "cancel_url": return_url,
            **({"customer": customer} if customer else {}),
        }
        try:
            url = self._client.v1.checkout.sessions.create(parameters).url
        except stripe.StripeError as error:
            raise _failed(error) from None
        if url is None:
            raise BillingError("Stripe has returned no page")
        return url

    def portal(self, account_id: str, return_url: str) -> str | None:
        """The URL of Stripe's page for invoices and the end of a subscription; None without a customer.

        Raises BillingError.
        """
        customer = self._customers.of_account(account_id)
        if customer is None:
            return None
        try:
            parameters: Any = {"customer": customer, "return_url": return_url}
            return self._client.v1.billing_portal.sessions.create(parameters).url
        except stripe.StripeError as error:
            raise _failed(error) from None

    def receive(self, body: bytes, signature: str) -> Outcome:
        """Apply a webhook. One that is sent again changes nothing. Raises SignatureError, DatabaseUnavailableError."""
        try:
            event = self._client.construct_event(body, signature, self._settings.webhook_secret, _TOLERANCE_S)
            content = event.data.object.to_dict()
        except (stripe.SignatureVerificationError, ValueError, AttributeError, KeyError, TypeError):
            raise SignatureError from None
        if event.type == "checkout.session.completed":
            return self._completed(content)
        if event.type.startswith(_SUBSCRIPTION):
            return self._changed(event.type, content, event.created)
        return "ignored"

    def _completed(self, session: Mapping[str, Any]) -> Outcome:
        account_id, customer = session.get("client_reference_id"), session.get("customer")
        if not isinstance(account_id, str) or not isinstance(customer, str):
            return "ignored"
        self._customers.link(account_id, customer)
        return "applied"

    def _changed(self, kind: str, subscription: Mapping[str, Any], at_s: int) -> Outcome:
        customer = subscription.get("customer")
        account_id = (subscription.get("metadata") or {}).get(_ACCOUNT)
        if not isinstance(customer, str):
            return "ignored"
        if isinstance(account_id, str):  # it may arrive before the end of the checkout
            self._customers.link(account_id, customer)
        account_id = self._customers.account_of(customer)
        plan = self._plan_of(kind, subscription)
        if account_id is None or plan is None:
            return "ignored"
        with self._database.transaction() as connection:
            is_newest = self._customers.is_newest(connection, account_id, at_s)
        if not is_newest:
            return "ignored"
        self._plans.set_plan(account_id, plan)
        return "applied"

    def _plan_of(self, kind: str, subscription: Mapping[str, Any]) -> str | None:
        """The plan after an event; None for a price that is not in the settings."""
        if kind == f"{_SUBSCRIPTION}deleted" or subscription.get("status") not in _PAID:
            return self._free_plan
        items = (subscription.get("items") or {}).get("data") or []
        found = [self._settings.plans.get(str((item.get("price") or {}).get("id"))) for item in items]
        plan = next((name for name in found if name is not None), None)
        if plan is None:
            _log.warning("a subscription has a price that is not in INFRAPRISM_STRIPE_PRICES: the plan is unchanged")
        return plan


def _failed(error: stripe.StripeError) -> BillingError:
    _log.warning("Stripe cannot be used: %s, status %s", type(error).__name__, error.http_status)
    return BillingError("Stripe cannot be used now: try again later")
