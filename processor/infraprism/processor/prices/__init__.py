"""What a call costs in USD: exact to the last digit, or not at all and why.

`price` is the whole of it for a call; `explain` says how a figure came about. The prices are a compiled table
(`data/`, see `about`), and the user's own in the file that `INFRAPRISM_PRICES` names, which win over it.
"""

from infraprism.processor.prices.charge import Line
from infraprism.processor.prices.engine import VARIABLE, Explanation, Price, Prices, explain, price, prices, usable
from infraprism.processor.prices.file_error import PricesFileError
from infraprism.processor.prices.table import about

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
