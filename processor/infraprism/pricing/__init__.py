"""The cost of a call in USD: exact to the last digit, or absent with the reason.

`price` returns the cost of a call, `explain` its derivation. The prices are a compiled table (`data/`, see `about`),
and the user's own in the file that `INFRAPRISM_PRICES` names, which have precedence.
"""

from infraprism.pricing.charge import Line
from infraprism.pricing.engine import (
    VARIABLE,
    Explanation,
    Price,
    Prices,
    PricingRequest,
    explain,
    price,
    prices,
    usable,
)
from infraprism.pricing.file_error import PricesFileError
from infraprism.pricing.parts import price_parts
from infraprism.pricing.table import about

__all__ = [
    "VARIABLE",
    "Explanation",
    "Line",
    "Price",
    "Prices",
    "PricesFileError",
    "PricingRequest",
    "about",
    "explain",
    "price",
    "price_parts",
    "prices",
    "usable",
]
