"""Converts the pinned price package to the form of our table.

A model becomes `{"id", "match", "rows"}`: `match` has its names (`is`: exact names, `re`: patterns, in the order of the
source), `rows` has its prices per tier, each with the time from which it applies. Rates are strings, USD per million
tokens or per thousand requests or searches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

from genai_prices import types
from genai_prices.data import providers

from infraprism.pricing.table import SUFFIX_MARK

PACKAGE: Final = "genai-prices"
VERSION: Final = version(PACKAGE)

TOKEN_RATES: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "cache_audio_read_mtok": "audio_cache_read",
    "web_searches_kcount": "web_search",
    "requests_kcount": "request",
}
"""Our names of the rates that apply to the usage of a call, by the names of the source."""

TIERS: Final = {
    ("processing", "batch"): "batch",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
}
"""Our service tiers, by the request contexts of the source; an event does not have its others (speed, route)."""

_DATED_SUFFIX: Final = r"[-@](?:20\d{6}|20\d{2}-\d{2}-\d{2}|\d{2}-\d{2}|\d{2}-20\d{2}|\d{3,4})" + SUFFIX_MARK
_UNANCHORED: Final = {
    r"^gemini-3\.5-flash-\d": r"gemini-3\.5-flash-\d{3}",
    r"^gemini-4-argon-\d": r"gemini-4-argon-\d{3}",
}
"""Patterns of the source that match any longer name, and the patterns that replace them."""

Row = dict[str, Any]
Model = dict[str, Any]


def models(provider: types.Provider) -> list[Model]:
    """All models of one provider that have a price, in the order in which the source matches them."""
    found = []
    for model in provider.models:
        rows = {"standard": _standard(model)}
        rows |= {tier: _tier(model, tier) for tier in _tiers(model)}
        if model.id.endswith(":free"):
            rows = {"standard": [{"rates": {"input": "0", "output": "0"}}]}
        if any(row["rates"] for tier in rows.values() for row in tier):
            found.append({"id": model.id, "match": match(model.match), "rows": rows})
    return found


def all_providers() -> list[types.Provider]:
    """The providers of the package."""
    return list(providers)


def _standard(model: types.ModelInfo) -> list[Row]:
    if isinstance(model.prices, types.ModelPrice):
        return [{"rates": rates(model.prices)}]
    rows: list[Row] = []
    for price in model.prices:
        row: Row = {"rates": rates(price.prices)}
        if isinstance(price.constraint, types.StartDateConstraint):
            row["from"] = price.constraint.start_date.isoformat()
        elif price.constraint is not None:
            start, end = price.constraint.start_time, price.constraint.end_time
            row["hours"] = [[f"{start:%H:%M}", f"{end:%H:%M}"]]
        rows.append(row)
    return rows


def _tiers(model: types.ModelInfo) -> list[str]:
    contexts = {pair for variant in model.price_variants or () for pair in variant.when.items()}
    return [tier for pair, tier in TIERS.items() if pair in contexts]


def _tier(model: types.ModelInfo, tier: str) -> list[Row]:
    """The rows of one tier: one for each day on which the standard price or the tier's own changes."""
    variants = [v for v in model.price_variants or () if any(TIERS.get(p) == tier for p in v.when.items())]
    standard = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    if any(isinstance(price.constraint, types.TimeOfDateConstraint) for price in standard):
        raise ValueError(f"{model.id}: a tier in addition to prices by the hour; put it into the overlay")
    first = min(_day(v.constraint) or date.min for v in variants)
    days = {_day(item.constraint) or date.min for item in [*variants, *standard]}
    context = {key: value for v in variants for key, value in v.when.items()}
    rows = []
    for day in sorted(d for d in days if d >= first):
        moment = types.datetime(max(day.year, 2000), day.month, day.day, 12, tzinfo=types.UTC)
        row: Row = {"rates": rates(model.get_prices(moment, context))}
        if day != date.min:
            row["from"] = day.isoformat()
        rows.append(row)
    return rows


def _day(constraint: object) -> date | None:
    return constraint.start_date if isinstance(constraint, types.StartDateConstraint) else None


def rates(price: types.ModelPrice) -> dict[str, Any]:
    """The rates of one price in our names.

    Where input or output has rates by modality that our counts do not distinguish (images, video), its token rate is
    left out, so that such a call is incomplete and not priced too low; `also` has the other charges of the source.
    """
    given = {key: value for key, value in vars(price).items() if value is not None}
    found = {name: _rate(given[key]) for key, name in TOKEN_RATES.items() if key in given}
    also = sorted(given.keys() - TOKEN_RATES.keys())
    if any(key in given for key in ("output_image_mtok", "output_video_mtok")):
        found.pop("output", None)
    if "audio_input" not in found and any(key in given for key in ("input_image_mtok", "input_video_mtok")):
        found.pop("input", None)
    return {**found, "also": also} if also else found


def _rate(value: Any) -> Any:
    if isinstance(value, types.TieredPrices):
        return [_digits(value.base), *([_threshold(tier.start), _digits(tier.price)] for tier in value.tiers)]
    return _digits(value)


def _threshold(start: int) -> str:
    # The source has only "more than"; a limit of one below a round number means "at least".
    return f">={start + 1}" if start % 1000 == 999 else f">{start}"  # noqa: PLR2004


def _digits(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def match(clause: Any) -> dict[str, list[str]]:
    """The names of a model: exact ones, and patterns that a whole name must match."""
    names: dict[str, list[str]] = {"is": [], "re": []}
    for part in _alternatives(clause):
        if isinstance(part, types.ClauseEquals):
            names["is"].append(part.equals.lower())
        else:
            names["re"].append(_pattern(part))
    return {key: value for key, value in names.items() if value}


def _alternatives(clause: Any) -> Iterator[Any]:
    if isinstance(clause, types.ClauseOr):
        for part in clause.or_:
            yield from _alternatives(part)
    else:
        yield clause


def _pattern(clause: Any) -> str:
    if isinstance(clause, types.ClauseAnd):
        *conditions, last = sorted(clause.and_, key=lambda part: isinstance(part, types.ClauseStartsWith))
        return "".join(f"(?={condition.regex})" for condition in conditions) + _pattern(last)
    if isinstance(clause, types.ClauseStartsWith):
        return _beginning(clause.starts_with.lower())
    if isinstance(clause, types.ClauseContains):
        return r"(?:.*[./:])?" + _beginning(clause.contains.lower())
    if isinstance(clause, types.ClauseEndsWith):
        return r"(?:.*[./:])?" + _literal(clause.ends_with.lower())
    if clause.regex in _UNANCHORED:
        return _UNANCHORED[clause.regex]
    if not (clause.regex.startswith("^") and clause.regex.endswith("$")):
        raise ValueError(f"the pattern {clause.regex!r} matches longer names; add a replacement to _UNANCHORED")
    return str(clause.regex[1:-1])


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\-", "-")


def _beginning(text: str) -> str:
    if text.startswith("ft:") or text.endswith(".ft-"):
        return _literal(text) + r"[\d-]*(?::.*)?" if text.startswith("ft:") else _literal(text) + ".+"
    if text.endswith(("-", "@")):
        return _literal(text[:-1]) + _DATED_SUFFIX
    if re.search(r"[-@](?:0|20\d\d)$", text):
        return _literal(text) + r"\d*" + SUFFIX_MARK
    return _literal(text) + SUFFIX_MARK
