"""Splits the difference of two costs into parts that add up to it exactly.

The calls of both periods are divided into cells: calls of one model, provider, operation, service tier, and one group.
The cost of a cell is a product:

    cost = N * share * priced share * length * cache * price

`N` is the number of all calls, `share` that of the cell, `priced share` the part of its calls that have a cost. A
priced call has a `length` of input + o * output tokens, where o is the price of an output token in input tokens.
`cache` is the part of that length that is billed, if a token read from the cache counts as c input tokens. `price` is
the cost per billed token. The factors are replaced by those of the later period one after the other, in this order; a
part is the change of the cost by one replacement. So the order is part of the definition, and there is no remainder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

PARTS: Final = ("volume", "mix", "unpriced", "length", "cache", "price", "unsplit")
"""The parts, in the order in which the factors are replaced.

`unsplit` is the change of the cost per priced call in cells with unknown tokens, which has no length, cache and price.
"""
_PLACES: Final = 18
_GUARD_PLACES: Final = 18
"""More digits of the cost of one cell, so that the sum of many cells is rounded only once."""
_EXACT: Final = Context(prec=300)


@dataclass(frozen=True)
class Measured:
    """The calls of a cell in one period, and the cost in USD and the tokens of the priced ones.

    Token counts are None if no priced call has one; `is_partial` if only some have input or output tokens.
    """

    calls: int = 0
    priced: int = 0
    cost: Fraction = Fraction(0)
    input: int | None = None
    output: int | None = None
    cached: int | None = None
    is_partial: bool = False


@dataclass(frozen=True)
class Weights:
    """The price of an output token, and of an input token read from the cache, in input tokens."""

    output: Fraction = Fraction(1)
    cached: Fraction = Fraction(1)


@dataclass(frozen=True)
class Cell:
    """A cell in both periods."""

    before: Measured
    now: Measured
    weights: Weights = Weights()


def split(cells: Iterable[Cell], calls_before: int, calls_now: int) -> dict[str, Decimal]:
    """The parts of the change of the cost of some cells, to 18 digits. `calls_...` are those of all cells.

    Their sum is the change exactly. Each is rounded by at most 1e-18.
    """
    stages = [0] * (len(PARTS) + 1)
    for cell in cells:
        for place, cost in enumerate(_stages(cell, calls_before, calls_now)):
            stages[place] += round(cost * 10 ** (_PLACES + _GUARD_PLACES))
    # Rounded before the differences are taken: the first and the last stage are sums of costs, which have 18 digits.
    rounded = [round(Fraction(stage, 10**_GUARD_PLACES)) for stage in stages]
    return {
        part: _EXACT.scaleb(Decimal(after - earlier), -_PLACES)
        for part, earlier, after in zip(PARTS, rounded, rounded[1:], strict=False)
    }


def has_cache(cell: Cell) -> bool:
    """Whether the effect of the cache is known."""
    return _is_split(cell) and cell.before.cached is not None and cell.now.cached is not None


def _stages(cell: Cell, calls_before: int, calls_now: int) -> list[Fraction]:
    """The cost of the cell before, and after each replacement. A factor that is not defined before is that of now."""
    before, now = cell.before, cell.now
    if not calls_before:
        return [before.cost] + [now.cost] * len(PARTS)
    volume = before.cost * calls_now / calls_before
    mix = _ratio(before.cost, before.calls, _ratio(now.cost, now.calls)) * now.calls
    unpriced = _ratio(before.cost, before.priced, _ratio(now.cost, now.priced)) * now.priced
    if not (before.priced and now.priced):
        return [before.cost, volume, mix, unpriced, *[now.cost] * 4]
    if not _is_split(cell):
        return [before.cost, volume, mix, *[unpriced] * 4, now.cost]
    length = unpriced * (_length(now, cell.weights) / now.priced) / (_length(before, cell.weights) / before.priced)
    cache = length
    if has_cache(cell):
        cache = length * _billed_share(now, cell.weights) / _billed_share(before, cell.weights)
    return [before.cost, volume, mix, unpriced, length, cache, now.cost, now.cost]


def _ratio(cost: Fraction, calls: int, otherwise: Fraction = Fraction(0)) -> Fraction:
    return cost / calls if calls else otherwise


def _is_split(cell: Cell) -> bool:
    """Whether length and price of the priced calls are known in both periods."""
    sides = (cell.before, cell.now)
    return (
        not any(side.is_partial or side.input is None or not side.priced for side in sides)
        and (cell.before.output is None) == (cell.now.output is None)
        and all(_length(side, cell.weights) and _billed_share(side, cell.weights) for side in sides)
    )


def _length(side: Measured, weights: Weights) -> Fraction:
    return (side.input or 0) + weights.output * (side.output or 0)


def _billed_share(side: Measured, weights: Weights) -> Fraction:
    length = _length(side, weights)
    return (length - (1 - weights.cached) * (side.cached or 0)) / length
