"""Prices of the price table for tokens: per million, and relative to an input token."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from infraprism.pricing import PricesFileError, PricingRequest, explain, money
from infraprism.schema.usage import Usage

CLASSES: Final = ("input", "output", "cache_read")
_SHORT_CALL: Final = Usage(input_tokens=2, output_tokens=1, cache_read_tokens=1)
"""A call with a token of each class."""


@lru_cache(maxsize=10_000)
def rates(provider: str, model: str, tier: str, day: int) -> tuple[dict[str, int], str, str]:
    """The rates of a short call on a day (since 1970) in 1e-24 USD by class, and since when and from where they are.

    No rates if the table does not have the model.
    """
    try:
        found = explain(PricingRequest(provider, model, _SHORT_CALL, day * 86_400 * 10**9, tier or "standard"))
    except PricesFileError:
        return {}, "", ""
    return {line.name: line.rate for line in found.lines if line.name in CLASSES}, found.since, found.source


def per_million(provider: str, model: str, day: int) -> dict[str, Any] | None:
    """The prices of a million tokens in USD of the standard tier, or None."""
    found, since, source = rates(provider, model, "standard", day)
    if not found:
        return None
    prices = {
        f"{name}_per_million": Decimal(money.text(found[name], 1_000_000)) if name in found else None
        for name in CLASSES
    }
    return {**prices, "since": since or None, "source": source or None}
