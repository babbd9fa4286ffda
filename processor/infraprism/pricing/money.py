"""Exact money: integers of 1e-24 USD, turned into a `Decimal` once, at the end.

The finest rate of the table is 1e-23 USD a token. An event and the store hold a cost to 1e-18 USD; a cost with more
digits, which only such rates give, is rounded to that, half to even, once, after the sum. The host application may run
under any decimal context (`prec=6` is legal); the one here is private, so that nothing of it reaches a cost.
"""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from typing import Final

PLACES: Final = 24
COST_PLACES: Final = 18
_UNIT: Final = 10**PLACES
_BEYOND: Final = 10 ** (PLACES - COST_PLACES)
_CONTEXT: Final = Context(prec=100, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
times: Final = _CONTEXT.multiply
"""An amount in some unit as USD: `times(amount, power(places))`, exact, whatever the application's context is."""
_AMOUNT: Final = r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,18}))?"


def parse(text: str, per: int) -> int:
    """An amount of USD for `per` pieces, in units a piece: `parse("2.5", 1_000_000)` is 2_500_000_000_000_000_000.

    Raises ValueError where the text is no plain decimal number, or has more digits than one piece can be billed with.
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


def power(places: int) -> Decimal:
    """The unit 10 ** -places USD."""
    return Decimal((0, (1,), -places))


_ONE: Final = power(PLACES)


def places(*units: int) -> int:
    """How many digits after the point amounts have at most, of units of 1e-24 USD."""
    found = PLACES
    while found and all(amount % 10 == 0 for amount in units):
        units = tuple(amount // 10 for amount in units)
        found -= 1
    return found


def usd(units: int) -> Decimal:
    """Units of 1e-24 USD as USD, to the last digit that a cost can have."""
    rest = units % _BEYOND
    if rest:
        up = 2 * rest > _BEYOND or (2 * rest == _BEYOND and (units // _BEYOND) & 1)
        units += _BEYOND - rest if up else -rest
    return times(units, _ONE)


def text(units: int, per: int = 1) -> str:
    """USD for `per` pieces of so many units each, in plain digits without needless zeros."""
    whole, fraction = divmod(units * per, _UNIT)
    digits = f"{fraction:0{PLACES}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
