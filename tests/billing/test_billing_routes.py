"""The routes of billing on a real server. No request leaves this machine."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from tests.kit.backend import Backend

from infraprism.backend.accounts import Accounts

SECRET = "whsec_of_the_tests"
STRIPE = {"stripe_key": "sk_test_123", "stripe_webhook_secret": SECRET, "stripe_prices": "price_1=growth"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("billing") / "data", settings=STRIPE) as running:
        yield running


def webhook(account_id: str) -> bytes:
    subscription = {
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "metadata": {"account_id": account_id},
        "items": {"data": [{"price": {"id": "price_1"}}]},
    }
    event = {"id": "evt_1", "object": "event", "type": "customer.subscription.created", "created": 1}
    return json.dumps({**event, "data": {"object": subscription}}).encode()


def signed(body: bytes) -> dict[str, str]:
    at = int(time.time())
    return {"stripe-signature": f"t={at},v1={hmac.new(SECRET.encode(), f'{at}.'.encode() + body, sha256).hexdigest()}"}


def test_a_signed_webhook_sets_the_plan_and_another_is_refused(server: Backend) -> None:
    account_id = server.get("/v1/me").json["id"]
    body = webhook(account_id)
    for headers in ({}, {"stripe-signature": "t=1,v1=00"}):
        answer = server.http("/billing/webhook", body, headers)
        assert (answer.status, answer.json["type"]) == (400, "/errors/invalid_request")
    assert server.get("/v1/me").json["plan"] == "self_hosted"
    assert server.http("/billing/webhook", body, signed(body)).status == 204
    with closing(Accounts(server.data_dir / "accounts.sqlite")) as accounts:
        assert [account.plan for account in accounts.all()] == ["growth"]
    assert server.http("/billing/webhook", b"x" * (2**20 + 1), signed(b"x")).status == 413


def test_the_pages_of_stripe_need_a_key_with_the_scope_admin_and_a_plan_with_a_price(server: Backend) -> None:
    key = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
    assert server.http("/v1/billing/checkout", b'{"plan":"growth"}', {"content-type": "application/json"}).status == 401
    answer = server.http("/v1/billing/checkout", b'{"plan":"enterprise"}', key)
    assert (answer.status, answer.json["detail"]) == (400, "plan: one of growth")
    for body in (b"{}", b'{"plan":"growth","more":1}', b"{"):
        assert server.http("/v1/billing/checkout", body, key).status == 400


def test_without_the_settings_the_paths_do_not_exist(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as server:
        key = {"authorization": f"Bearer {server.key}"}
        for path in ("/v1/billing/checkout", "/v1/billing/portal", "/billing/webhook"):
            assert server.http(path, b"{}", key).status == 404
        assert "/v1/billing/checkout" not in server.http("/openapi.json", None, {}).json["paths"]
