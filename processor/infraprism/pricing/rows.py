"""The rows of a price table: which row applies at a time, and which of its rates for that many input tokens.

A row is written (in the compiled table, the overlay and a user's file) as::

    {"from": "2026-08-17", "until": "2026-12-01", "hours": [["01:00", "04:00"]], "days": ["mon", "tue"],
     "not_on": ["2026-10-01"], "rates": {"input": ["2.5", [">272000", "5"]], "output": "15"}}

All times are UTC; a day begins at 00:00; `until` is exclusive. A row applies where all its conditions do; of several
the last one counts. Rates are USD per million tokens; fees are USD per thousand, or by the size of the search context.
A rate with limits is `[base, [limit, rate], ...]`, where the limit is `>` or `>=` a number of input tokens, cache
included, and the rate beyond it applies to all tokens of the call.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from infraprism.pricing import money
from infraprism.pricing.charge import Rates

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FEES: Final = ("web_search", "request")
CONTEXT_SIZES: Final = ("low", "medium", "high")
ROW_KEYS: Final = frozenset({"from", "until", "hours", "days", "not_on", "rates", "source"})
PER_TOKENS: Final = 1_000_000
PER_FEES: Final = 1_000

_DAY_NS: Final = 86_400 * 10**9
_MINUTE_NS: Final = 60 * 10**9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WEEKDAY: Final = 3
_FOREVER: Final = 1 << 80


class Row(NamedTuple):
    """Rates, and when they apply. `bands` are (least input tokens, rates), the highest first."""

    bands: tuple[tuple[int, Rates], ...]
    start_ns: int = -_FOREVER
    end_ns: int = _FOREVER
    hours: tuple[tuple[int, int], ...] = ()
    days: frozenset[int] = frozenset()
    not_on: frozenset[int] = frozenset()
    clock: bool = False
    """Whether there are conditions of hour or day."""
    source: str = ""
    written: Mapping[str, Any] = {}

    def always(self) -> bool:
        """Whether the row applies at all times."""
        return self.start_ns == -_FOREVER and self.end_ns == _FOREVER and not self.clock

    def by_the_clock(self, at_ns: int) -> bool:
        """Whether the hour and the day of a time (ns since 1970) are those of the row."""
        day, rest = divmod(at_ns, _DAY_NS)
        minute = rest // _MINUTE_NS
        return (
            (not self.hours or any(_within(minute, start, end) for start, end in self.hours))
            and (not self.days or (day + _EPOCH_WEEKDAY) % 7 in self.days)
            and day not in self.not_on
        )

    def rates(self, input_tokens: int) -> Rates:
        """The rates of a call with that many input tokens, cache included."""
        for least, rates in self.bands:
            if input_tokens >= least:
                return rates
        return self.bands[-1][1]


def _within(minute: int, start: int, end: int) -> bool:
    return start <= minute < end if start < end else minute >= start or minute < end


def row_at(latest_first: Iterable[Row], at_ns: int) -> Row | None:
    """The row that applies at a time (ns since 1970), of rows in the reverse order of writing."""
    for row in latest_first:
        if row.start_ns <= at_ns < row.end_ns and (not row.clock or row.by_the_clock(at_ns)):
            return row
    return None


def applicable(latest_first: Sequence[Row], at_ns: int) -> tuple[int, int, Row | None]:
    """From when until when (ns since 1970) one row, or none, applies without a change, and that row."""
    edges = {edge for row in latest_first for edge in (row.start_ns, row.end_ns)}
    clocks = [row for row in latest_first if row.clock]
    if clocks:
        day_ns = at_ns - at_ns % _DAY_NS
        edges |= {day_ns, day_ns + _DAY_NS}
        edges |= {day_ns + minute * _MINUTE_NS for row in clocks for pair in row.hours for minute in pair}
    since_ns = max((edge for edge in edges if edge <= at_ns), default=-_FOREVER)
    until_ns = min((edge for edge in edges if edge > at_ns), default=_FOREVER)
    return since_ns, until_ns, row_at(latest_first, at_ns)


def read(written: Mapping[str, Any], source: str = "") -> Row:
    """One row from its written form (see the module). Raises ValueError, with the reason, for any other form."""
    unknown = sorted(written.keys() - ROW_KEYS)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known here; known are {', '.join(sorted(ROW_KEYS))}")
    start, end = _moment(written.get("from"), -_FOREVER), _moment(written.get("until"), _FOREVER)
    if start >= end:
        raise ValueError("'until' is not after 'from'")
    return Row(
        bands=_bands(written.get("rates")),
        start_ns=start,
        end_ns=end,
        hours=tuple(_hours(pair) for pair in _list(written.get("hours"), "hours")),
        days=frozenset(_weekday(day) for day in _list(written.get("days"), "days")),
        not_on=frozenset(_moment(day, 0) // _DAY_NS for day in _list(written.get("not_on"), "not_on")),
        clock=any(written.get(name) for name in ("hours", "days", "not_on")),
        source=str(written.get("source", source)),
        written=written,
    )


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name!r} is a list")  # noqa: TRY004 - the file is wrong, not the program
    return value


def _moment(value: Any, absent: int) -> int:
    if value is None:
        return absent
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a date such as '2026-10-14'") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9


def _hours(pair: Any) -> tuple[int, int]:
    try:
        start, end = (_minute(text) for text in pair)
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"{pair!r} is not a pair of hours such as ['01:00', '04:00']") from None
    return start, end


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    if not (0 <= int(hour) <= 24 and 0 <= int(minute) < 60):  # noqa: PLR2004 - a clock
        raise ValueError(text)
    return int(hour) * 60 + int(minute)


def _weekday(day: Any) -> int:
    if day not in DAYS:
        raise ValueError(f"{day!r} is not a weekday; they are {', '.join(DAYS)}")
    return DAYS.index(day)


def _bands(written: Any) -> tuple[tuple[int, Rates], ...]:
    if not isinstance(written, Mapping) or not written:
        raise ValueError("'rates' is a mapping such as {input: '2.50', output: '10'}")
    base: dict[str, Any] = {}
    beyond: dict[int, dict[str, int]] = {}
    for name, value in written.items():
        if name == "also":
            continue
        if name not in Rates._fields:
            raise ValueError(f"there is no rate {name!r}; known are {', '.join(Rates._fields)}")
        if name in FEES:
            base[name] = _fee(value)
            continue
        first, *limits = value if isinstance(value, list) and value else [value]
        base[name] = _amount(first, PER_TOKENS)
        for limit in limits:
            least, amount = _limit(limit)
            beyond.setdefault(least, {})[name] = amount
    bands = [(0, Rates(**base))]
    for least in sorted(beyond):
        bands.append((least, bands[-1][1]._replace(**beyond[least])))
    return tuple(reversed(bands))


def _fee(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _amount(value, PER_FEES)
    if not value or not value.keys() <= set(CONTEXT_SIZES):
        raise ValueError(f"a fee is an amount, or one each for {', '.join(CONTEXT_SIZES)}")
    return {size: _amount(amount, PER_FEES) for size, amount in value.items()}


def _amount(value: Any, per: int) -> int:
    if not isinstance(value, str):
        reason = f"the amount {value!r} is not in quotes; a bare number may already be rounded"
        raise ValueError(reason)  # noqa: TRY004 - the file is wrong, not the program
    return money.parse(value, per)


def _limit(limit: Any) -> tuple[int, int]:
    try:
        bound, amount = limit
        if bound.startswith(">="):
            return int(bound[2:]), _amount(amount, PER_TOKENS)
        if bound.startswith(">"):
            return int(bound[1:]) + 1, _amount(amount, PER_TOKENS)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{limit!r} is not a limit such as ['>200000', '5']: {error}") from None
    raise ValueError(f"{limit!r} is not a limit such as ['>200000', '5']")


def scaled(row: Row, factor: str) -> Row:
    """The row with every token rate times a factor, such as "1.1" for ten per cent more; fees stay."""
    numerator, denominator = money.parse(factor, 1), 10**money.PLACES

    def times(rates: Rates) -> Rates:
        values: dict[str, Any] = {}
        for name, rate in zip(Rates._fields, rates, strict=True):
            if name in FEES or not isinstance(rate, int):
                continue
            product, rest = divmod(rate * numerator, denominator)
            # A rate finer than 1e-24 USD is left out, so that the call is incomplete: rates are not rounded.
            values[name] = None if rest else product
        return rates._replace(**values)

    return row._replace(bands=tuple((least, times(rates)) for least, rates in row.bands))
