"""Exact amounts of money: integers of 1e-24 USD, converted to a `Decimal` once, after the sum.

The finest rate of the table is 1e-23 USD a token. An event and the store hold a cost to 1e-18 USD; a cost with more
digits, which only such rates give, is rounded to that, half to even, once, after the sum. The application may use any
decimal context (`prec=6` is legal); the one here is private, so that the application's does not affect a cost.
"""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from typing import Final

PLACES: Final = 24
"""Digits after the point of an amount."""
COST_PLACES: Final = 18
"""Digits after the point of a cost."""
_UNIT: Final = 10**PLACES
_BEYOND: Final = 10 ** (PLACES - COST_PLACES)
_CONTEXT: Final = Context(prec=100, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
_multiply: Final = _CONTEXT.multiply
_LAST_PLACE: Final = Decimal((0, (1,), -COST_PLACES))
_AMOUNT: Final = r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,18}))?"


def parse(text: str, per: int) -> int:
    """An amount of USD for `per` pieces, in units of 1e-24 USD for one: `parse("2.5", 1_000_000)` is 25 * 10**17.

    Raises ValueError where the text is not a plain decimal number, or has more digits than a piece can be billed with.
    """
    found = re.fullmatch(_AMOUNT, text)
    if found is None:
        raise ValueError(f"{text!r} is not an amount of USD such as '2.50'")
    whole, fraction = found[1], found[2] or ""
    divisor: int = 10 ** len(fraction) * per
    units, rest = divmod(int(whole + fraction) * _UNIT, divisor)
    if rest:
        raise ValueError(f"{text!r} has more than {PLACES} digits after the point for one of {per}")
    return units


def usd(units: int) -> Decimal:
    """Units of 1e-24 USD as USD, to the last digit that a cost can have."""
    whole, rest = divmod(units, _BEYOND)
    if rest and (2 * rest > _BEYOND or (2 * rest == _BEYOND and whole & 1)):
        whole += 1
    return _multiply(whole, _LAST_PLACE)


def text(units: int, per: int = 1) -> str:
    """USD for `per` pieces of `units` each, in plain digits without trailing zeros."""
    whole, fraction = divmod(units * per, _UNIT)
    digits = f"{fraction:0{PLACES}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
