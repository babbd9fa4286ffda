"""Compares every model of the table with the package: equal to the last digit, or listed with the reason."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, localcontext
from pathlib import Path
from typing import Any, NamedTuple

import genai_prices
from genai_prices import types
from genai_prices.data import providers

from infraprism.pricing import PricingRequest, price, table
from infraprism.schema.usage import Usage

KNOWN = Path(__file__).parent / "known_differences.json"
CONTEXTS = {
    "standard": None,
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLASSES = {
    "cache_read_mtok": "cache_read_tokens",
    "cache_write_mtok": "cache_write_tokens",
    "cache_write_1h_mtok": "cache_write_1h_tokens",
    "input_audio_mtok": "audio_input_tokens",
    "output_audio_mtok": "audio_output_tokens",
    "web_searches_kcount": "web_searches",
}


class Case(NamedTuple):
    provider: str
    model: str
    name: str
    tier: str
    at: datetime
    usage: Usage
    recorded: bool

    def key(self, status: str) -> tuple[str, str, str]:
        when = "" if self.recorded else " before it was recorded"
        return self.provider, self.model, f"{self.tier}{when}: {status}"


def names(clause: Any) -> Iterator[str]:
    match clause:
        case types.ClauseOr(or_=parts) | types.ClauseAnd(and_=parts):
            for part in parts:
                yield from names(part)
        case types.ClauseEquals(equals=text):
            yield text
        case types.ClauseStartsWith(starts_with=text) | types.ClauseContains(contains=text):
            yield f"{text}20250101" if text.endswith(("@", "-")) else text
        case types.ClauseEndsWith(ends_with=text):
            yield text


def model_names(model: types.ModelInfo) -> list[str]:
    return [name for name in dict.fromkeys(names(model.match)) if model.is_match(name)]


def moments(provider: str, name: str, model: types.ModelInfo) -> list[datetime]:
    """The days before and after each change of a price in the package or the table, a peak hour, a Saturday."""
    rows = [*(model.prices if isinstance(model.prices, list) else []), *(model.price_variants or [])]
    days = {row.constraint.start_date for row in rows if isinstance(row.constraint, types.StartDateConstraint)}
    compiled = table.provider(provider)
    ours = compiled.find(name.lower()) if compiled else None
    for tier in ours.rows.values() if ours else ():
        days |= {date.fromisoformat(row["from"][:10]) for row in tier if "from" in row}
    noon = time(12, tzinfo=UTC)
    both_sides = [datetime.combine(day + timedelta(days=step), noon) for day in days for step in (-1, 1)]
    return sorted({*both_sides, NOW, datetime(2026, 11, 21, 2, tzinfo=UTC), datetime(2026, 11, 18, 2, tzinfo=UTC)})


def is_own(provider: types.Provider, model: types.ModelInfo) -> bool:
    return any(model is own for own in provider.models)


def tiers(provider: types.Provider, model: types.ModelInfo) -> Iterator[tuple[str, date | None]]:
    yield "standard", None
    for tier, context in CONTEXTS.items():
        known = [v for v in model.price_variants or () if context and v.when == context]
        if known and is_own(provider, model):
            starts = [v.constraint.start_date for v in known if isinstance(v.constraint, types.StartDateConstraint)]
            yield tier, min(starts) if len(starts) == len(known) else None


def a_usage(rates: types.ModelPrice, dice: random.Random, *, own: bool) -> Usage:
    priced = {key for key, rate in vars(rates).items() if rate is not None}
    if not own:
        priced.discard("web_searches_kcount")  # another provider that serves the model has search fees of its own
    limits = {t.start for rate in vars(rates).values() if isinstance(rate, types.TieredPrices) for t in rate.tiers}
    total = dice.choice([dice.randrange(200), dice.randrange(10**6), *(n + dice.choice((0, 1)) for n in limits)])
    counts: dict[str, int] = {"input_tokens": total}
    if "output_mtok" in priced:
        counts["output_tokens"] = dice.randrange(100_000)
    possible = sorted(CLASSES.keys() & priced)
    chosen = {key for key in possible if dice.random() < 0.6}
    if "input_audio_mtok" in chosen:
        chosen -= {"cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"}
        counts["audio_input_tokens"] = dice.randrange(total + 1)
    if "cache_read_mtok" in chosen:
        counts["cache_read_tokens"] = dice.randrange(total // 2 + 1)
    if chosen & {"cache_write_mtok", "cache_write_1h_mtok"} and "cache_write_mtok" in priced:
        counts["cache_write_tokens"] = dice.randrange(total // 2 + 1)
        if "cache_write_1h_mtok" in chosen:
            counts["cache_write_1h_tokens"] = dice.randrange(counts["cache_write_tokens"] + 1)
    if "output_audio_mtok" in chosen and "output_tokens" in counts:
        counts["audio_output_tokens"] = dice.randrange(counts["output_tokens"] + 1)
    if "output_reasoning_mtok" in priced:
        counts["reasoning_tokens"] = dice.randrange(counts["output_tokens"] + 1)
    if "web_searches_kcount" in chosen or priced >= {"web_searches_kcount", "output_reasoning_mtok"}:
        counts["web_searches"] = dice.randrange(5)
    return Usage(**counts)


def cases() -> Iterator[Case]:
    for provider in compiled_providers():
        for model in reachable(provider):
            dice = random.Random(f"{provider.id}/{model.id}")
            for nth, name in enumerate(model_names(model)):
                if provider.find_model(name, all_providers=list(providers)) is not model:
                    continue
                for tier, since in tiers(provider, model):
                    for at in moments(provider.id, name, model)[-1 if nth else 0 :]:
                        usage = a_usage(model.get_prices(at, CONTEXTS[tier]), dice, own=is_own(provider, model))
                        yield Case(provider.id, model.id, name, tier, at, usage, since is None or at.date() >= since)


def compiled_providers() -> list[types.Provider]:
    return [provider for provider in providers if provider.id in table.about()["providers"]]


def reachable(provider: types.Provider) -> Iterator[types.ModelInfo]:
    yield from provider.models
    for other in providers:
        if other.id in (provider.fallback_model_providers or ()):
            yield from other.models


def theirs(case: Case) -> Decimal:
    renamed = {
        "audio_input_tokens": "input_audio_tokens",
        "audio_output_tokens": "output_audio_tokens",
        "reasoning_tokens": "output_reasoning_tokens",
    }
    given = {renamed.get(key, key): value for key, value in case.usage._asdict().items() if value is not None}
    with localcontext(Context(prec=60)):
        found = genai_prices.calc_price(
            genai_prices.Usage(**given),
            case.name,
            provider_id=case.provider,
            genai_request_timestamp=case.at,
            price_context=CONTEXTS[case.tier],
        )
        return round(found.total_price, 18)


def difference(case: Case) -> tuple[str, str, str] | None:
    at_ns = int(case.at.timestamp()) * 10**9
    ours = price(PricingRequest(case.provider, case.name, case.usage, at_ns, tier=case.tier))
    return case.key(ours.status) if ours.cost_usd is None or ours.cost_usd != theirs(case) else None


def listed() -> dict[tuple[str, str, str], str]:
    found: dict[tuple[str, str, str], str] = {}
    for entry in json.loads(KNOWN.read_text()):
        assert entry["reason"]
        assert entry["source"]
        for model in entry["models"]:
            key = entry["provider"], model, entry["what"]
            assert key not in found, f"{key} is listed twice"
            found[key] = entry["reason"]
    return found


def test_every_model_has_the_price_of_the_package_or_is_listed_with_a_reason() -> None:
    tried, different = 0, set()
    for case in cases():
        tried += 1
        found = difference(case)
        if found is not None:
            different.add(found)
    assert tried > 9_000
    known = listed()
    unlisted = sorted(different - known.keys())
    obsolete = sorted(known.keys() - different)
    assert not unlisted, f"{len(unlisted)} differences are not listed, such as {unlisted[:10]}"
    assert not obsolete, f"{len(obsolete)} are listed and do not exist, such as {obsolete[:10]}"


def test_the_differences_are_few_where_no_tier_and_no_rate_was_missing() -> None:
    standard = [key for key in listed() if key[2].startswith("standard: ")]
    models = sum(len(provider.models) for provider in providers)
    assert len(standard) < models / 18


def test_the_table_is_compiled_from_the_installed_package() -> None:
    assert table.about()["package_version"] == genai_prices.__version__
