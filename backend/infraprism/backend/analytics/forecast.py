"""The cost of a week or month that is not over, from the costs of the last complete days.

A remaining day is expected to cost the mean of the same weekday in the last four weeks; with less than four weeks of
history, the mean of all days. The variance of the sum of the remaining days has two terms: that of the days themselves,
and that of the means. Both use the variance of the residuals, times a factor of at least 1 for days that depend on the
days before (the autocorrelations up to lag 3 with Bartlett weights). The interval is 1.35 standard deviations wide on
each side, the 0.9 quantile of Student's distribution with 13 degrees of freedom. It assumes that the level of the costs
stays what it was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final, NamedTuple

MIN_DAYS: Final = 14
"""Complete days without which there is no forecast."""
MAX_DAYS: Final = 28
CONFIDENCE: Final = Decimal("0.8")
_QUANTILE: Final = Fraction(135, 100)
_LAGS: Final = 3
_WEEK: Final = 7
_CONTEXT: Final = Context(prec=60)
_DIGITS: Final = Context(prec=6)
"""Of an estimate; more would not be exact."""


class Forecast(NamedTuple):
    """The expected sum of the remaining days, and half the width of its interval, in USD."""

    expected: Decimal
    margin: Decimal
    method: str


def forecast(history: Sequence[Decimal], remaining: int) -> Forecast | None:
    """The forecast of the `remaining` days after the last complete days, `history` (oldest first, in USD).

    None if there are fewer than `MIN_DAYS`.
    """
    days = [Fraction(cost) for cost in history[-MAX_DAYS:]]
    if len(days) < MIN_DAYS:
        return None
    period = _WEEK if len(days) == MAX_DAYS else 1
    of_place: dict[int, list[Fraction]] = defaultdict(list)
    for number, cost in enumerate(days):
        of_place[number % period].append(cost)
    means = {place: sum(costs, Fraction(0)) / len(costs) for place, costs in of_place.items()}
    residuals = [cost - means[number % period] for number, cost in enumerate(days)]
    variance = sum((one * one for one in residuals), Fraction(0)) / (len(days) - period)
    counted = Counter((len(days) + number) % period for number in range(remaining))
    expected = sum((means[place] * count for place, count in counted.items()), Fraction(0))
    of_means = sum((Fraction(count * count, len(of_place[place])) for place, count in counted.items()), Fraction(0))
    total = variance * (remaining + of_means) * _dependence(residuals)
    margin = _CONTEXT.multiply(_CONTEXT.sqrt(_decimal(total)), _decimal(_QUANTILE))
    return Forecast(_decimal(expected), margin, "weekday_means_of_28_days" if period == _WEEK else "mean_of_all_days")


def rounded(estimate: Decimal) -> Decimal:
    """An estimate with the digits that it can have."""
    return _DIGITS.plus(estimate)


def _dependence(residuals: Sequence[Fraction]) -> Fraction:
    """How much larger the variance of a sum is than that of independent days."""
    squares = sum((one * one for one in residuals), Fraction(0))
    if not squares:
        return Fraction(1)
    factor = Fraction(1)
    for lag in range(1, _LAGS + 1):
        products = sum((a * b for a, b in zip(residuals, residuals[lag:], strict=False)), Fraction(0))
        factor += 2 * (1 - Fraction(lag, _LAGS + 1)) * products / squares
    return max(factor, Fraction(1))


def _decimal(value: Fraction) -> Decimal:
    return _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))
