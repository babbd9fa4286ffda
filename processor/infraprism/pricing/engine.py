"""Prices a call: finds the rates of its model at the time of the request, and multiplies its usage with them.

The rates found for a model are cached together with the time for which they apply, so that the next look-up is one of a
dictionary. The cache is bounded: many different model names cost time, not memory.
"""

import logging
import os
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from infraprism.pricing import money, names, rows, table
from infraprism.pricing.charge import Bill, Line
from infraprism.pricing.file_error import PricesFileError
from infraprism.pricing.rows import Row
from infraprism.schema.usage import Usage

if TYPE_CHECKING:
    from infraprism.pricing.overrides import Override

VARIABLE: Final = "INFRAPRISM_PRICES"
MAX_CACHED: Final = 4096
"""Models cached; a process calls some tens of models, a backend some hundreds."""

_TIERS: Final = {"standard": "standard", "default": "standard", "on_demand": "standard", "": "standard"} | {
    "batch": "batch",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",  # OpenAI's new name for it
}
_log: Final = logging.getLogger(__name__)


class PricingRequest(NamedTuple):
    """One call to be priced.

    `provider` is one of `schema.fields.PROVIDERS` or a spelling of the GenAI conventions, `model` the name as the call
    has it, `at_ns` the time of the request in nanoseconds since 1970, `tier` the service tier that answered (standard,
    batch, flex, priority), `region` and `deployment` are the provider's names of them.
    """

    provider: str
    model: str
    usage: Usage
    at_ns: int
    tier: str = "standard"
    region: str | None = None
    deployment: str | None = None


class Price(NamedTuple):
    """Cost of one call in USD, or None; `status` is one of `schema.fields.COST_STATUSES`."""

    cost_usd: Decimal | None
    status: str


class Explanation(NamedTuple):
    """A price and its derivation. `model` and `provider` are the names in the table, "" if the model is not in it."""

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
    """The prices of one model in one tier: its rows, the last written first."""

    provider: str
    model: str
    tier: str
    rows: tuple[Row, ...]
    note: str = ""
    """The reason to report where no row applies."""


class _Cached(NamedTuple):
    """The row that applies from `since_ns` until before `until_ns` (ns since 1970), and the plan that it is part of."""

    since_ns: int
    until_ns: int
    row: Row | None
    plan: Plan | None


_NO_USAGE: Final = Price(None, "no_usage")
_UNKNOWN: Final = Price(None, "unknown_model")
_INCOMPLETE: Final = Price(None, "incomplete")


class Prices:
    """The compiled table, and the user's own prices, which have precedence.

    Safe for use by several threads. `overrides` is a file such as `INFRAPRISM_PRICES` names; raises PricesFileError
    if it cannot be used.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        self._overrides: tuple[Override, ...] = ()
        if overrides is not None:
            from infraprism.pricing.overrides import read  # noqa: PLC0415 - most processes have no such file

            self._overrides = read(overrides)
        self._cache: dict[tuple[str, str, str, str | None, str | None], _Cached] = {}

    @property
    def cached(self) -> int:
        """The number of models in the cache, at most about MAX_CACHED."""
        return len(self._cache)

    def price(self, request: PricingRequest) -> Price:
        """The cost of a call; see `price` of this module."""
        provider, model, usage, at_ns, tier, region, deployment = request
        key = provider, model, tier, region, deployment
        cached = self._cache.get(key)
        if cached is None or not cached[0] <= at_ns < cached[1]:
            plan = self._plan(request) if cached is None else cached.plan
            cached = _Cached(*rows.applicable(plan.rows if plan else (), at_ns), plan)
            if len(self._cache) >= MAX_CACHED:
                # All are removed; those in use return with their next call. Cheaper than an order of use for each.
                self._cache.clear()
            self._cache[key] = cached
        if usage.input_tokens is None and usage.output_tokens is None:
            return _NO_USAGE
        _, _, row, plan = cached
        if row is None:
            return _UNKNOWN if plan is None else _INCOMPLETE
        bill = Bill(row.rates(usage.input_tokens or 0), usage)
        return _INCOMPLETE if bill.missing else Price(money.usd(bill.cost), "priced")

    def explain(self, request: PricingRequest) -> Explanation:
        """The same price as `price` returns, with the lines of the bill, or what is missing."""
        priced = self.price(request)
        usage, plan = request.usage, self._plan(request)
        row = plan and rows.row_at(plan.rows, request.at_ns)
        bill = Bill(row.rates(usage.input_tokens or 0), usage) if row else None
        missing = bill.missing if bill else []
        if plan and not row:
            missing = [plan.note or f"no price of tier {plan.tier} is known for that time"]
        elif priced.status == "no_usage":
            missing = ["no usage was reported"]
        elif not plan:
            missing = ["the model is not in the table under that name and provider"]
        return Explanation(
            price=priced,
            provider=plan.provider if plan else "",
            model=plan.model if plan else "",
            tier=plan.tier if plan else request.tier,
            source=row.source if row else "",
            since=str(row.written.get("from", "")) if row else "",
            lines=bill.lines if bill else (),
            missing=tuple(missing),
            table_version=table.about()["version"],
        )

    def _plan(self, request: PricingRequest) -> Plan | None:
        region, deployment = (request.region or "").strip().lower(), (request.deployment or "").strip().lower()
        tier = _TIERS.get((request.tier or "").lower(), request.tier)
        price_key, model = names.price_key(request.provider), request.model
        name = model.strip().lower()
        own = [entry for entry in self._overrides if entry.applies(price_key, name, tier, region, deployment)]
        base = next((entry for entry in own if entry.base_model is not None), None)
        found = None
        if base is not None:
            found = _from_table(price_key, base.base_model or model, tier, region, deployment)
            found = found and found._replace(rows=tuple(_derived(row, base) for row in found.rows))
        elif not any(entry.row is not None and entry.row.always() for entry in own):
            found = _from_table(price_key, model, tier, region, deployment)
        # Of the user's rows the first that applies counts, of the table's the last: so the user's follow in reverse.
        own_rows = tuple(entry.row for entry in reversed(own) if entry.row is not None)
        if own_rows:
            plan = found or Plan(price_key, model, tier, ())
            found = plan._replace(rows=plan.rows + own_rows)
        return found and found._replace(rows=found.rows[::-1])


def _from_table(price_key: str, model: str, tier: str, region: str, deployment: str) -> Plan | None:
    price_list, name = names.routed(price_key, model)
    known = table.provider(price_list)
    if known is None:
        return None
    place = names.region_of(price_list, name, region)
    for candidate in names.candidates(price_list, name, region):
        found = known.find_in(place, candidate)
        if found is not None:
            return _deployed(known, found, tier, place, deployment)
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


def _derived(row: Row, override: "Override") -> Row:
    """A row of the table as the prices of an override with `as` or `factor`."""
    row = rows.scaled(row, override.factor) if override.factor else row
    derivation = " ".join(
        (
            f"as {override.base_model}" if override.base_model else "",
            f"times {override.factor}" if override.factor else "",
        )
    )
    return row._replace(source=f"{override.source} ({derivation.strip()}; {row.source})")


def _overrides_file() -> str:
    return os.environ.get(VARIABLE, "").strip()


@cache
def prices() -> Prices:
    """The prices of this process, with the file that `INFRAPRISM_PRICES` names.

    Raises PricesFileError if that file cannot be used; a server calls this at its start.
    """
    named = _overrides_file()
    return Prices(Path(named) if named else None)


@cache
def prices_or_none() -> Prices | None:
    """The same, or None if the file cannot be used, which is logged once."""
    try:
        return prices()
    except PricesFileError as error:
        # With the table instead, calls would have a cost that is wrong for the user.
        _log.error("No call can be priced: %s", error)
        return None


def price(request: PricingRequest) -> Price:
    """The cost of one call. Raises nothing.

    The status is `priced`, or without a cost: `no_usage` (neither input nor output tokens were reported),
    `unknown_model` (no price under that name and provider), `incomplete` (a part of the usage has no rate at that time
    and tier, or one of the two counts is missing and the model bills it, or the counts contradict each other, or
    the user's file of prices cannot be used).
    """
    known = prices_or_none()
    return _INCOMPLETE if known is None else known.price(request)


def explain(request: PricingRequest) -> Explanation:
    """The same price with its derivation. Raises PricesFileError like `prices`."""
    return prices().explain(request)


def usable() -> bool:
    """Whether calls can be priced: there is no file of the user's own prices, or it can be used.

    Reads the file if `INFRAPRISM_PRICES` names one, and logs once per process why it cannot be used; without the
    variable nothing is read. For the start of an application, which a broken file must not stop.
    """
    return not _overrides_file() or prices_or_none() is not None
