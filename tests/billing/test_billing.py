"""Billing by the official package: requests to stripe-mock, and webhooks that are signed as Stripe signs them."""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select
from tests.kit.stripe_mock import stripe_mock

from infraprism.backend.accounts import Account, Accounts
from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.billing import configured
from infraprism.backend.billing.billing import Billing, BillingError, SignatureError, StripeSettings
from infraprism.backend.billing.configured import AccountPlans, Organisations
from infraprism.backend.billing.tables import BILLING_CUSTOMERS
from infraprism.backend.preflight import StartupError
from infraprism.backend.settings import Settings

SECRET = "whsec_of_the_tests"
PRICES = {"price_growth": "growth", "price_scale": "scale"}
CUSTOMER = "cus_Grace"
URL = "https://infraprism.example.com"
EMAIL = "grace@example.org"


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    with closing(Accounts(tmp_path / "accounts.sqlite")) as opened:
        yield opened


@pytest.fixture
def account(accounts: Accounts) -> Account:
    return accounts.add(plan="free")


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with stripe_mock() as url:
        yield url


def billing_of(accounts: Accounts, api: str = "http://127.0.0.1:1") -> Billing:
    organisations = Organisations(accounts, AuditLog(accounts.database))
    settings = StripeSettings("sk_test_123", SECRET, PRICES, api)
    return Billing(settings, accounts.database, AccountPlans(organisations), "free")


@pytest.fixture
def billing(accounts: Accounts) -> Billing:
    return billing_of(accounts)


def signature(body: bytes, *, age_s: int = 0, secret: str = SECRET) -> str:
    """The header that Stripe documents: a time, and an HMAC of it and the body."""
    at = int(time.time()) - age_s
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, sha256).hexdigest()}"


def webhook(kind: str, content: dict[str, Any], at_s: int = 1_800_000_000) -> bytes:
    found = {"id": "evt_1", "object": "event", "type": kind, "created": at_s, "data": {"object": content}}
    return json.dumps({**found, "livemode": False, "pending_webhooks": 1, "api_version": "2025-01-01"}).encode()


def receive(billing: Billing, kind: str, content: dict[str, Any], at_s: int = 1_800_000_000) -> str:
    body = webhook(kind, content, at_s)
    return billing.receive(body, signature(body))


def completed(account: Account) -> dict[str, Any]:
    return {
        "id": "cs_1",
        "object": "checkout.session",
        "client_reference_id": account.id,
        "customer": CUSTOMER,
        "customer_details": {"email": EMAIL, "name": "Grace"},
    }


def subscription(account: Account | None, price: str = "price_growth", status: str = "active") -> dict[str, Any]:
    return {
        "id": "sub_1",
        "object": "subscription",
        "customer": CUSTOMER,
        "status": status,
        "metadata": {} if account is None else {"account_id": account.id},
        "items": {"object": "list", "data": [{"id": "si_1", "price": {"id": price, "object": "price"}}]},
    }


def plan(accounts: Accounts, account: Account) -> str:
    return next(one.plan for one in accounts.all() if one.id == account.id)


def entries(accounts: Accounts, account: Account) -> list[tuple[str, str]]:
    return [(one.actor, one.action) for one in AuditLog(accounts.database).all(account.id)]


def test_stripe_accepts_the_requests_for_its_pages(accounts: Accounts, account: Account, api: str) -> None:
    billing = billing_of(accounts, api)
    assert billing.checkout(account.id, "growth", URL).startswith("https://")
    assert billing.portal(account.id, URL) is None
    receive(billing, "checkout.session.completed", completed(account))
    assert (billing.portal(account.id, URL) or "").startswith("https://")
    assert billing.checkout(account.id, "scale", URL).startswith("https://")


def test_without_stripe_the_error_is_named_and_nothing_of_the_request_is_logged(
    billing: Billing, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(BillingError, match=r"^Stripe cannot be used now"):
        billing.checkout(account.id, "growth", URL)
    assert account.id not in caplog.text
    assert "sk_test" not in caplog.text


def test_a_subscription_sets_the_plan_and_its_end_the_free_plan(
    billing: Billing, accounts: Accounts, account: Account
) -> None:
    assert receive(billing, "checkout.session.completed", completed(account)) == "applied"
    assert receive(billing, "customer.subscription.created", subscription(None), 10) == "applied"
    assert plan(accounts, account) == "growth"
    receive(billing, "customer.subscription.updated", subscription(None, "price_scale"), 20)
    assert plan(accounts, account) == "scale"
    receive(billing, "customer.subscription.updated", subscription(None, "price_scale", "past_due"), 30)
    assert plan(accounts, account) == "scale"
    receive(billing, "customer.subscription.deleted", subscription(None, "price_scale", "canceled"), 40)
    assert plan(accounts, account) == "free"
    assert entries(accounts, account) == [("system", "plan.changed")] * 3


def test_a_webhook_that_is_sent_again_changes_nothing(billing: Billing, accounts: Accounts, account: Account) -> None:
    body = webhook("customer.subscription.created", subscription(account))
    header = signature(body)
    for _ in range(3):
        billing.receive(body, header)
    assert plan(accounts, account) == "growth"
    assert entries(accounts, account) == [("system", "plan.changed")]


def test_webhooks_may_arrive_in_any_order(billing: Billing, accounts: Accounts, account: Account) -> None:
    receive(billing, "customer.subscription.deleted", subscription(account, status="canceled"), 30)
    assert receive(billing, "customer.subscription.updated", subscription(account), 20) == "ignored"
    receive(billing, "checkout.session.completed", completed(account))
    assert receive(billing, "customer.subscription.created", subscription(account), 10) == "ignored"
    assert plan(accounts, account) == "free"


@pytest.mark.parametrize("header", ["", "t=1", "v1=aa", "no header", "t=x,v1=y"])
def test_a_webhook_without_a_signature_is_refused(billing: Billing, account: Account, header: str) -> None:
    with pytest.raises(SignatureError):
        billing.receive(webhook("customer.subscription.created", subscription(account)), header)


def test_a_changed_an_old_and_a_foreign_webhook_are_refused(
    billing: Billing, accounts: Accounts, account: Account
) -> None:
    body = webhook("customer.subscription.created", subscription(account))
    with pytest.raises(SignatureError):
        billing.receive(body.replace(b"price_growth", b"price_scale "), signature(body))
    with pytest.raises(SignatureError):
        billing.receive(body, signature(body, age_s=400))
    with pytest.raises(SignatureError):
        billing.receive(body, signature(body, secret="whsec_of_another_server"))
    with pytest.raises(SignatureError):
        billing.receive(b"no JSON", signature(b"no JSON"))
    assert plan(accounts, account) == "free"
    assert entries(accounts, account) == []


def test_only_the_id_of_the_customer_is_stored(
    billing: Billing, accounts: Accounts, account: Account, tmp_path: Path
) -> None:
    receive(billing, "checkout.session.completed", completed(account))
    receive(billing, "customer.subscription.created", subscription(account), 10)
    rows = accounts.database.rows(select(BILLING_CUSTOMERS))
    assert [tuple(row) for row in rows] == [(account.id, CUSTOMER, 10)]
    stored = (tmp_path / "accounts.sqlite").read_bytes()
    assert CUSTOMER.encode() in stored
    for other in (EMAIL, "Grace\x00", "sub_1", "cs_1", "price_growth"):
        assert other.encode() not in stored


def test_the_customer_is_deleted_with_the_account(billing: Billing, accounts: Accounts, account: Account) -> None:
    receive(billing, "checkout.session.completed", completed(account))
    accounts.database.run(delete(ACCOUNTS).where(ACCOUNTS.c.id == account.id))
    assert accounts.database.rows(select(BILLING_CUSTOMERS)) == []
    assert receive(billing, "customer.subscription.updated", subscription(account)) == "ignored"


def test_what_is_unknown_changes_nothing(billing: Billing, accounts: Accounts, account: Account) -> None:
    other = accounts.add(plan="free")
    assert receive(billing, "invoice.paid", {"id": "in_1", "object": "invoice"}) == "ignored"
    assert receive(billing, "customer.subscription.created", subscription(None)) == "ignored"
    assert receive(billing, "customer.subscription.created", subscription(account, "price_other")) == "ignored"
    receive(billing, "checkout.session.completed", completed(other))  # the customer is that of `account`
    assert receive(billing, "customer.subscription.created", subscription(None)) == "applied"
    assert (plan(accounts, account), plan(accounts, other)) == ("growth", "free")
    unknown = {**completed(account), "client_reference_id": "acc_none", "customer": "cus_other"}
    receive(billing, "checkout.session.completed", unknown)
    assert len(accounts.database.rows(select(BILLING_CUSTOMERS))) == 1


def test_a_contract_is_not_changed_by_stripe(billing: Billing, accounts: Accounts) -> None:
    account = accounts.add(plan="enterprise")
    receive(billing, "customer.subscription.deleted", subscription(account))
    assert plan(accounts, account) == "enterprise"


def settings(**values: str | None) -> Settings:
    return Settings(
        data_dir=Path(),
        **{"stripe_key": "sk_1", "stripe_webhook_secret": SECRET, "stripe_prices": "price_1=growth", **values},  # type: ignore[arg-type]
    )


def test_billing_is_off_unless_all_settings_are_set(accounts: Accounts) -> None:
    assert configured.billing(Settings(data_dir=Path()), accounts) is None
    found = configured.billing(settings(), accounts)
    assert found is not None
    assert found.plans == ("growth",)
    for name in ("stripe_key", "stripe_webhook_secret", "stripe_prices"):
        with pytest.raises(StartupError, match="set all"):
            configured.billing(settings(**{name: None}), accounts)
    for prices in ("growth", "price_1=", "price_1=gold", ",", "prod_1=growth"):
        with pytest.raises(StartupError, match="INFRAPRISM_STRIPE_PRICES must be"):
            configured.billing(settings(stripe_prices=prices), accounts)
    assert SECRET not in repr(settings())
