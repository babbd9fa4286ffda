"""Lists the differences between two compiled tables, one line for each rate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Rates = dict[tuple[str, str, str, str, str], str]


def between(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Lines such as `openai gpt-4o standard from 2026-08-21 input: 2.5 -> 2`."""
    old, new = _rates(before), _rates(after)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            provider, model, tier, when, rate = key
            yield f"{provider} {model} {tier}{when} {rate}: {old.get(key, 'none')} -> {new.get(key, 'none')}"


def _rates(files: Mapping[str, str]) -> Rates:
    found: Rates = {}
    for name, text in files.items():
        if not name.endswith(".json") or name == "about.json":
            continue
        table = json.loads(text)
        for premium in table.get("premiums", ()):
            where = " ".join(f"{key} {premium[key]}" for key in ("region", "deployment") if key in premium)
            found[table["id"], premium["models"], "all tiers", f" {where}", "factor"] = premium["factor"]
        for model in table["models"]:
            for tier, rows in model["rows"].items():
                for row in rows:
                    for rate, value in row["rates"].items():
                        found[table["id"], model["id"], tier, _when(row), rate] = _written(value)
    return found


def _when(row: Mapping[str, Any]) -> str:
    parts = [f" {key} {_written(row[key])}" for key in ("from", "until", "hours", "days", "not_on") if key in row]
    return "".join(parts)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
