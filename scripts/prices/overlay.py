"""Applies our own additions and corrections, `overlay.yaml`, to the table.

Each section of the file is one function here, applied in this order: `excluded`, `removed`, `models`, `redated`,
`add_rates`, `tier_since`, `tier_factor`, `premiums`. An entry that changes nothing is an error, since it is obsolete
or wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import yaml

Model = dict[str, Any]
Providers = dict[str, list[Model]]
Entry = dict[str, Any]

_REQUIRED: Final = ("source", "why")
_FEES: Final = frozenset({"web_search", "request"})
_PLACES: Final = 18


def copied(models: list[Model], provider: str) -> list[Model]:
    """Another provider's models, as a host sells them: at the standard price, without that provider's own fees."""
    found = []
    for model in models:
        rows = [{**row, "rates": _without(row["rates"], _FEES)} for row in model["rows"]["standard"]]
        found.append({"id": model["id"], "match": model["match"], "like": provider, "rows": {"standard": rows}})
    return found


def applied(path: Path, providers: Providers) -> dict[str, Any]:
    """The table of each provider, with the overlay's entries applied.

    Raises ValueError for an entry without source, date and reason, and for one that changes nothing.
    """
    # Everything is text: a rate that YAML reads as a float is no longer the one that was written.
    sections: dict[str, list[Entry]] = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    apply: dict[str, Callable[[Providers, Entry], bool]] = {
        "excluded": _excluded,
        "removed": _removed,
        "models": _model,
        "redated": _redated,
        "add_rates": _add_rates,
        "tier_since": _tier_since,
        "tier_factor": _tier_factor,
    }
    unknown = sections.keys() - apply.keys() - {"premiums"}
    if unknown:
        raise ValueError(f"unknown sections: {', '.join(unknown)}")
    for name, function in apply.items():
        for entry in sections.get(name, ()):
            _check(name, entry)
            if not function(providers, entry):
                raise ValueError(f"{name}: this entry changes nothing: {entry}")
    tables = {name: {"id": name, "models": models} for name, models in providers.items()}
    for entry in sections.get("premiums", ()):
        _check("premiums", entry)
        premium = {key: entry[key] for key in ("models", "region", "deployment", "factor") if key in entry}
        tables[entry["provider"]].setdefault("premiums", []).append({**premium, "source": _source(entry)})
    return tables


def _check(section: str, entry: Entry) -> None:
    missing = [key for key in _REQUIRED if not entry.get(key)]
    if not entry.get("checked") and not entry.get("unverified"):
        missing.append("checked or unverified")
    if missing:
        raise ValueError(f"{section}: {entry} lacks its {', '.join(missing)}")


def _source(entry: Entry) -> str:
    unverified = f"not verified: {entry['unverified']}" if "unverified" in entry else ""
    return f"{entry['source']} ({', '.join(filter(None, (entry.get('checked'), unverified)))})"


def _selected(providers: Providers, entry: Entry) -> Iterator[Model]:
    names = re.compile(entry.get("models", ".*"))
    return (model for model in providers[entry["provider"]] if names.fullmatch(model["id"]))


def _excluded(providers: Providers, entry: Entry) -> bool:
    return providers.pop(entry["provider"], None) is not None


def _removed(providers: Providers, entry: Entry) -> bool:
    wrong = [model["id"] for model in _selected(providers, entry)]
    known = providers[entry["provider"]]
    known[:] = [model for model in known if model["id"] not in wrong]
    return bool(wrong)


def _model(providers: Providers, entry: Entry) -> bool:
    known = providers[entry["provider"]]
    found = next((model for model in known if model["id"] == entry["id"]), None)
    if found is None:
        found = {"id": entry["id"], "match": entry["match"], "rows": {}}
        known.insert(0, found)
    elif "match" in entry:
        found["match"] = entry["match"]
    found["rows"] |= entry["rows"]
    found["source"] = _source(entry)
    return True


def _redated(providers: Providers, entry: Entry) -> bool:
    done = False
    for model in _selected(providers, entry):
        for row in model["rows"]["standard"]:
            if row.get("from") in entry["from"]:
                row["from"] = entry["from"][row["from"]]
                row["source"] = _source(entry)
                done = True
    return done


def _add_rates(providers: Providers, entry: Entry) -> bool:
    done = False
    for model in _selected(providers, entry):
        for tier, rows in model["rows"].items():
            for row in rows:
                rates = row["rates"]
                added = {name: rates[other] for name, other in entry.get("same_as", {}).items() if other in rates}
                if tier == "standard":
                    added |= entry.get("rates", {})
                done |= bool(added.keys() - rates.keys())
                row["rates"] = added | rates
    return done


def _tier_since(providers: Providers, entry: Entry) -> bool:
    done = False
    for model in _selected(providers, entry):
        rows = model["rows"].get(entry["tier"])
        if not rows or rows[0].get("from", "") <= entry["since"]:
            continue
        first = rows[0]
        before = list(_earlier(model["rows"]["standard"], first, entry["since"]))
        rows[:0] = [{**row, "source": _source(entry)} for row in before]
        done = True
    return done


def _earlier(standard: list[Model], first: Model, since: str) -> Iterator[Model]:
    """The tier's rows from `since` to its first known one, in the same ratio to the standard rates of that time."""
    now = [row for row in standard if row.get("from", "") <= first["from"]][-1]
    for row, following in zip(standard, [*standard[1:], {"from": first["from"]}], strict=True):
        start = max(row.get("from", ""), since)
        if (row is now or following["from"] > start) and start < first["from"]:
            yield {"from": start, "rates": _in_ratio(row["rates"], now["rates"], first["rates"])}
        if row is now:
            return


def _in_ratio(then: dict[str, Any], now: dict[str, Any], tier_now: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, rate in tier_now.items():
        if name == "also" or name in _FEES or then.get(name) == now.get(name):
            found[name] = rate
        elif name in then and name in now:
            found[name] = _scaled(rate, _base(then[name]) / _base(now[name]))
    return found


def _base(rate: Any) -> Fraction:
    return Fraction(rate[0] if isinstance(rate, list) else rate)


def _scaled(rate: Any, factor: Fraction) -> Any:
    if isinstance(rate, list):
        return [_scaled(rate[0], factor), *([limit, _scaled(beyond, factor)] for limit, beyond in rate[1:])]
    exact = Fraction(rate) * factor * 10**_PLACES
    if exact.denominator != 1:
        raise ValueError(f"{rate} times {factor} has no exact form")
    text = format(Decimal(exact.numerator).scaleb(-_PLACES), "f")
    return text.rstrip("0").rstrip(".")


def _tier_factor(providers: Providers, entry: Entry) -> bool:
    done = False
    for model in _selected(providers, entry):
        rows = [
            {
                "from": max(row.get("from", ""), entry["since"]),
                "rates": {
                    name: _scaled(rate, Fraction(entry["factor"]))
                    for name, rate in row["rates"].items()
                    if name in entry["rates"]
                },
                "source": _source(entry),
            }
            for row in model["rows"]["standard"]
        ]
        model["rows"].setdefault(entry["tier"], rows)
        done = True
    return done


def _without(rates: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: rate for name, rate in rates.items() if name not in names}
