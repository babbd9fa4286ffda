"""The price of a call that several models or requests of the provider served: the sum of the prices of its parts."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

from infraprism.pricing.engine import Price, PricingRequest, price
from infraprism.schema import usage_parts

_EXACT: Final = Context(prec=60, traps=[])
_INCOMPLETE: Final = Price(None, "incomplete")


def price_parts(request: PricingRequest, text: str) -> Price:
    """The cost of a call with the parts that `text` contains; incomplete unless they are all of its usage.

    Each part is priced by itself, since the limit of a long prompt applies to one request. The searches of the call are
    a part of what the answering model did.
    """
    parts = usage_parts.decoded(text)
    if parts is None or not usage_parts.add_up(parts, request.usage):
        return _INCOMPLETE
    answering = next((place for place, part in enumerate(parts) if part.model is None), 0)
    total = Decimal(0)
    for place, part in enumerate(parts):
        usage = part.usage
        if place == answering:
            usage = usage._replace(web_searches=request.usage.web_searches)
        found = price(request._replace(model=part.model or request.model, usage=usage))
        if found.cost_usd is None:
            return _INCOMPLETE
        total = _EXACT.add(total, found.cost_usd)
    return Price(total, "priced")
