"""From a call to its price: names, overrides, table and time put together, and remembered.

The first look-up of a name reads the table; what it found is kept, with the time for which it holds, so that the next
is a dictionary's. What is kept is bounded: a stream of made-up names can cost time, never memory.
"""

import logging
import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from infraprism.pricing import money, names, rows, table
from infraprism.pricing.charge import NOT_PLAIN, Bill, Line
from infraprism.pricing.file_error import PricesFileError
from infraprism.pricing.money import times
from infraprism.pricing.rows import Row
from infraprism.schema.fields import MAX_TOKENS
from infraprism.schema.usage import Usage

if TYPE_CHECKING:
    from infraprism.pricing.overrides import Override

VARIABLE: Final = "INFRAPRISM_PRICES"
MAX_REMEMBERED: Final = 4096
"""Names kept; a process calls some tens of models, and a backend some hundreds."""

_TIERS: Final = {"standard": "standard", "default": "standard", "on_demand": "standard", "": "standard"} | {
    "batch": "batch",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",  # OpenAI's new name for it
}
_log: Final = logging.getLogger(__name__)


_Key = tuple[str, str, str, str | None, str | None]
"""Provider, model, tier, region, deployment, as the call has them."""


class Price(NamedTuple):
    """Cost of one call in USD, or None; `status` is one of `schema.fields.COST_STATUSES`."""

    cost_usd: Decimal | None
    status: str


class Explanation(NamedTuple):
    """A price and how it came about. `model` and `provider` are the table's names of what was found, "" if nothing."""

    price: Price
    provider: str
    model: str
    tier: str
    source: str
    since: str
    lines: tuple[Line, ...]
    missing: tuple[str, ...]
    table_version: str


class Plan(NamedTuple):
    """What is known of a name: the model that it means, and the rows of the tier asked for, the last written first."""

    provider: str
    model: str
    tier: str
    rows: tuple[Row, ...]
    note: str = ""
    """What to say where no row holds."""


_Held = tuple[Any, ...]
"""From when until when (ns since 1970) a row holds, the seven of its `Plain`, the row, the plan that it is part of."""

_new: Final = tuple.__new__
_NO_USAGE: Final = Price(None, "no_usage")
_UNKNOWN: Final = Price(None, "unknown_model")
_INCOMPLETE: Final = Price(None, "incomplete")


class Prices:
    """The compiled table, with the user's own prices before it.

    Safe for use by several threads. `overrides` is a file such as `INFRAPRISM_PRICES` names; raises PricesFileError
    if it cannot be used.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        self._overrides: tuple[Override, ...] = ()
        if overrides is not None:
            from infraprism.pricing.overrides import read  # noqa: PLC0415 - most processes have no such file

            self._overrides = read(overrides)
        self._held: dict[_Key, _Held] = {}

    def price(
        self,
        provider: str,
        model: str,
        usage: Usage,
        at_ns: int,
        *,
        tier: str = "standard",
        region: str | None = None,
        deployment: str | None = None,
    ) -> Price:
        """What the call cost; see `price` of this module."""
        return self._price((provider, model, tier, region, deployment), usage, at_ns)

    def _price(self, key: _Key, usage: Usage, at_ns: int) -> Price:
        held = self._held.get(key)
        if held is None or at_ns < held[0] or at_ns >= held[1]:
            held = self._hold(key, held, at_ns)
        _, _, until_tokens, in_rate, out_rate, read_more, write_more, hour_more, unit, row, plan = held
        if unit is None:
            return _in_full(plan, row, usage)
        # Most calls have text and cached text alone, and their bill is short: what is here `Bill` says as well, in
        # three times the time. A count or a rate that is missing is None, with which there is no arithmetic.
        counts: Any = usage
        given, answered, read, written, hour, reasoning, audio_in, audio_out, searches, _, _ = counts
        try:
            cost, plain, least = given * in_rate + answered * out_rate, given, 0
            if read:
                cost += read * read_more
                plain -= read
                least = read
            if written:
                cost += written * write_more
                plain -= written
                least = min(least, written)
            if hour:
                cost += hour * hour_more
                least = min(least, hour, written - hour)
            if reasoning:
                least = min(least, reasoning, answered - reasoning)
            common = least >= 0 <= plain and given < until_tokens and 0 <= answered <= MAX_TOKENS
        except TypeError:
            common = False
        if not common or audio_in or audio_out or searches:
            return _in_full(plan, row, usage)
        # Not Price(...): a NamedTuple's own __new__ is one more Python call for every price.
        return _new(Price, (times(cost, unit), "priced"))

    def explain(
        self,
        provider: str,
        model: str,
        usage: Usage,
        at_ns: int,
        *,
        tier: str = "standard",
        region: str | None = None,
        deployment: str | None = None,
    ) -> Explanation:
        """The same price as `price` gives, with the lines of the bill or what is missing."""
        said = self.price(provider, model, usage, at_ns, tier=tier, region=region, deployment=deployment)
        plan = self._plan(provider, model, tier, region, deployment)
        row = plan and rows.row_at(plan.rows, at_ns)
        bill = Bill(row.rates(usage.input_tokens or 0), usage) if row else None
        missing = bill.missing if bill else []
        if plan and not row:
            missing = [plan.note or f"no price of tier {plan.tier} is known for that time"]
        elif said.status == "no_usage":
            missing = ["no usage was reported"]
        elif not plan:
            missing = ["the model is not in the table under that name and provider"]
        return Explanation(
            price=said,
            provider=plan.provider if plan else "",
            model=plan.model if plan else "",
            tier=plan.tier if plan else tier,
            source=row.source if row else "",
            since=str(row.written.get("from", "")) if row else "",
            lines=tuple(bill.lines) if bill else (),
            missing=tuple(missing),
            table_version=table.about()["version"],
        )

    def _hold(self, key: _Key, before: _Held | None, at_ns: int) -> _Held:
        plan = self._plan(*key) if before is None else before[-1]
        since_ns, until_ns, row = rows.held_at(plan.rows if plan else (), at_ns)
        held = since_ns, until_ns, *(row.plain() if row else NOT_PLAIN), row, plan
        if len(self._held) >= MAX_REMEMBERED:
            # All go, and those in use come back with their next call: cheaper than to keep an order of use for each.
            self._held.clear()
        self._held[key] = held
        return held

    def _plan(self, provider: str, model: str, tier: str, region: str | None, deployment: str | None) -> Plan | None:
        where, how = (region or "").strip().lower(), (deployment or "").strip().lower()
        asked = _TIERS.get((tier or "").lower(), tier)
        biller = names.provider_of(provider) or provider.lower()
        name = model.strip().lower()
        own = [entry for entry in self._overrides if entry.meant(biller, name, asked, where, how)]
        like = next((entry for entry in own if entry.like is not None), None)
        found = None
        if like is not None and like.like is not None:
            found = _from_table(biller, like.like or model, asked, where, how)
            found = found and found._replace(rows=tuple(_like(row, like) for row in found.rows))
        elif not any(entry.row is not None and entry.row.always() for entry in own):
            found = _from_table(biller, model, asked, where, how)
        # Of the user's rows the first that holds counts, of ours the last: so theirs go behind, in reverse.
        theirs = tuple(entry.row for entry in reversed(own) if entry.row is not None)
        if theirs:
            base = found or Plan(biller, model, asked, ())
            found = base._replace(rows=base.rows + theirs)
        if found is None:
            return None
        return found._replace(rows=found.rows[::-1])


def _in_full(plan: Plan | None, row: Row | None, usage: Usage) -> Price:
    """The price of any call, with its whole bill."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return _NO_USAGE
    if plan is None:
        return _UNKNOWN
    bill = None if row is None else Bill(row.rates(usage.input_tokens or 0), usage)
    return _INCOMPLETE if bill is None or bill.missing else Price(money.usd(bill.cost), "priced")


def _from_table(provider: str, model: str, tier: str, region: str, deployment: str) -> Plan | None:
    biller, name = names.routed(provider, model)
    known = table.provider(biller)
    if known is None:
        return None
    for candidate in names.candidates(biller, name, region):
        found = known.find(candidate)
        if found is None:
            continue
        return _deployed(known, found, tier, region or names.region_in(biller, name), deployment)
    return None


def _deployed(known: table.Provider, model: table.Model, tier: str, region: str, deployment: str) -> Plan:
    priced = model.tier(tier) or ()
    premium = known.premium(model, region, deployment)
    note = f"no price of tier {tier} is known for that time"
    if premium and premium.factor == table.UNKNOWN_FACTOR:
        priced, note = (), f"what such a deployment costs is not known: {premium.source}"
    elif premium:
        more = f"; times {premium.factor}: {premium.source}"
        priced = tuple(rows.scaled(row, premium.factor)._replace(source=row.source + more) for row in priced)
    return Plan(model.provider, model.id, tier, priced, note)


def _like(row: Row, override: "Override") -> Row:
    row = rows.scaled(row, override.factor) if override.factor else row
    said = " ".join(
        (f"as {override.like}" if override.like else "", f"times {override.factor}" if override.factor else "")
    )
    return row._replace(source=f"{override.source} ({said.strip()}; {row.source})")


_default: Prices | None = None
_broken = False
_loading: Final = threading.Lock()


def prices() -> Prices:
    """The prices of this process, with the file that `INFRAPRISM_PRICES` names.

    Raises PricesFileError if that file cannot be used; a server asks for this at its start.
    """
    global _default  # noqa: PLW0603 - read once in a process's life
    with _loading:
        if _default is None:
            named = os.environ.get(VARIABLE, "").strip()
            _default = Prices(Path(named) if named else None)
        return _default


def price(
    provider: str,
    model: str,
    usage: Usage,
    at_ns: int,
    *,
    tier: str = "standard",
    region: str | None = None,
    deployment: str | None = None,
) -> Price:
    """What one call cost.

    `provider` is one of `schema.fields.PROVIDERS` or a spelling of the GenAI conventions, `model` the name as the call
    has it, `at_ns` the time of the request in nanoseconds since 1970, `tier` the service tier that answered (standard,
    batch, flex, priority), `region` and `deployment` what the provider calls them. Raises nothing.

    The status is `priced`, or without a cost: `no_usage` (neither input nor output tokens were reported),
    `unknown_model` (no price under that name and provider), `incomplete` (a part of the usage has no rate at that time
    and tier, or one of the two counts is missing and the model bills it, or the counts contradict each other, or
    the user's file of prices cannot be used).
    """
    known = _default or _prices_or_none()
    if known is None:
        return _INCOMPLETE
    return known._price((provider, model, tier, region, deployment), usage, at_ns)  # noqa: SLF001 - one call less


def explain(
    provider: str,
    model: str,
    usage: Usage,
    at_ns: int,
    *,
    tier: str = "standard",
    region: str | None = None,
    deployment: str | None = None,
) -> Explanation:
    """The same price with how it came about. Raises PricesFileError like `prices`."""
    return prices().explain(provider, model, usage, at_ns, tier=tier, region=region, deployment=deployment)


def usable() -> bool:
    """Whether calls can be priced: there is no file of the user's own prices, or it can be used.

    Reads the file if `INFRAPRISM_PRICES` names one, and says in the log, once in a process, what is wrong with it;
    without the variable nothing is read. For the start of an application, which a broken file must not stop.
    """
    return not os.environ.get(VARIABLE, "").strip() or _prices_or_none() is not None


def _prices_or_none() -> Prices | None:
    global _broken  # noqa: PLW0603 - said once in a process's life
    if _broken:
        return None
    try:
        return prices()
    except PricesFileError as error:
        # With the table instead, calls would have a cost that the user has said is wrong.
        _broken = True
        _log.error("No call can be priced: %s", error)
        return None
