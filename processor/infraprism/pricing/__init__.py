"""What a call costs in USD: exact to the last digit, or not at all and why.

`price` is the whole of it for a call; `explain` says how a figure came about. The prices are a compiled table
(`data/`, see `about`), and the user's own in the file that `INFRAPRISM_PRICES` names, which win over it.
"""

from infraprism.pricing.charge import Line
from infraprism.pricing.engine import VARIABLE, Explanation, Price, Prices, explain, price, prices, usable
from infraprism.pricing.file_error import PricesFileError
from infraprism.pricing.table import about

__all__ = [
    "VARIABLE",
    "Explanation",
    "Line",
    "Price",
    "Prices",
    "PricesFileError",
    "about",
    "explain",
    "price",
    "prices",
    "usable",
]
