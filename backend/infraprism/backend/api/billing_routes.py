"""`/v1/billing/`, and the webhook of Stripe. Without the settings of Stripe these paths do not exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from infraprism.backend.api.authentication import AdminCaller
from infraprism.backend.api.errors import ApiError
from infraprism.backend.billing.billing import Billing, BillingError, SignatureError

_CONFLICT: Final[dict[int | str, dict[str, Any]]] = {"409": {"description": "The account has no customer yet"}}


class CheckoutBody(BaseModel):
    """The plan to buy."""

    model_config = ConfigDict(extra="forbid")

    plan: Annotated[str, Field(max_length=64)]


class Page(BaseModel):
    """A page of Stripe, to which the browser is sent."""

    url: str


def add_billing_routes(app: FastAPI, billing: Billing, return_url: str) -> None:
    """Add the routes. `return_url` is where Stripe's pages lead back to."""

    @app.post("/v1/billing/checkout")
    def start_checkout(account: AdminCaller, body: CheckoutBody) -> Page:
        """Create a page of Stripe on which a plan is bought."""
        if body.plan not in billing.plans:
            raise ApiError(400, "invalid_parameter", f"plan: one of {', '.join(billing.plans)}")
        return Page(url=_of_stripe(lambda: billing.checkout(account.id, body.plan, return_url)))

    @app.post("/v1/billing/portal", responses=_CONFLICT)
    def open_portal(account: AdminCaller) -> Page:
        """Create a page of Stripe with the invoices, the card and the end of the subscription."""
        return Page(url=_of_stripe(lambda: billing.portal(account.id, return_url)))

    @app.post("/billing/webhook", include_in_schema=False)
    async def receive(request: Request) -> Response:
        """An event of Stripe, which has signed it."""
        body = await request.body()
        try:
            await run_in_threadpool(billing.receive, body, request.headers.get("stripe-signature", ""))
        except SignatureError:
            raise ApiError(400, "invalid_request", "the signature of Stripe is missing, wrong or too old") from None
        return Response(status_code=204)


def _of_stripe(create: Callable[[], str | None]) -> str:
    """The URL of a page of Stripe. Raises ApiError."""
    try:
        url = create()
    except BillingError as error:
        raise ApiError(503, "payment_unavailable", str(error)) from None
    if url is None:
        raise ApiError(409, "conflict", "the account has bought no plan yet: POST /v1/billing/checkout")
    return url
