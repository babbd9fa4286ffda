"""JSON with exact numbers: those with a decimal point are read and written as Decimal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from infraprism.schema.event import cost_text


def loads(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError."""
    return json.loads(text, parse_float=Decimal)


def dumps(value: object) -> str:
    """Serialize to one line of JSON."""
    if isinstance(value, Decimal):
        return cost_text(value)
    if isinstance(value, Mapping):
        return (
            "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{dumps(item)}" for key, item in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
