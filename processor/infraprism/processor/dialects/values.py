"""Readers of attribute values: whatever type stands there, a value of one type comes out, or None.

The SDK lets attribute values be maps, bytes, None and nested lists, and turns numbers of other libraries into text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from infraprism.schema.fields import MAX_TOKENS

Reader = Callable[[object], object]


@dataclass(frozen=True)
class Word:
    """Reads one constant word of an instrumentation as another value, and anything else as absent."""

    word: str
    means: object

    def __call__(self, value: object) -> object:
        """The other value, if this is the word."""
        return self.means if type(value) is str and value == self.word else None


MAX_TEXT: Final = 512
"""Longest text that is looked at; no name of anything in the field table comes near."""
_MAX_DIGITS: Final = 13
# Private and without traps: the host application's decimal context may be any.
_EXACT: Final = Context(prec=60, traps=[])

UNKNOWN_TIER: Final = "unknown"
"""A tier was reported whose price nobody can know from its name."""
TIERS: Final = {
    "default": "standard",
    "standard": "standard",
    "on_demand": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",  # OpenAI's new name for it
    "batch": "batch",
    "auto": None,  # what was asked for, not what was served
    "": None,
}


def count(value: object) -> int | None:
    """A whole number from 0 to MAX_TOKENS, also as 12.0 or "12"."""
    if type(value) is int:
        return value if 0 <= value <= MAX_TOKENS else None
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return int(value) if len(value) <= _MAX_DIGITS and value.isascii() and value.isdigit() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and 0 <= value <= MAX_TOKENS else None
    index = getattr(type(value), "__index__", None)
    whole = index(value) if index is not None else None
    return whole if type(whole) is int and 0 <= whole <= MAX_TOKENS else None


def text(value: object) -> str | None:
    """A text of bearable length; empty means absent."""
    if type(value) is str:
        return value if 0 < len(value) <= MAX_TEXT else None
    return text(str.__str__(value)) if isinstance(value, str) else None


def flag(value: object) -> bool | None:
    """True or False, also as text."""
    if value is True or value is False:
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def milliseconds(value: object) -> int | None:
    """A duration in milliseconds, to the nearest whole one."""
    return _milliseconds(value, 1)


def seconds(value: object) -> int | None:
    """A duration in seconds, as whole milliseconds."""
    return _milliseconds(value, 1000)


def _milliseconds(value: object, factor: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return round(value * factor) if value < MAX_TOKENS else None


def tier(value: object) -> str | None:
    """A service tier in the field table's words, or UNKNOWN_TIER."""
    name = text(value)
    return None if name is None else TIERS.get(name.lower(), UNKNOWN_TIER)


def money(value: object) -> Decimal | None:
    """An amount that a provider reported, exactly as its digits say."""
    if isinstance(value, float):
        value = repr(float(value))
    if type(value) is not str or len(value) > len("0." + "0" * 38):
        return None
    amount = _EXACT.create_decimal(value)
    return amount if amount.is_finite() and not amount.is_signed() else None


MAX_JSON: Final = 4096
"""Longest JSON text that is parsed; a usage object is a few hundred characters."""
_MAX_DEPTH: Final = 6
# How Python prints what JSON writes otherwise.
_PYTHON_WORDS: Final = (("'", '"'), ("None", "null"), ("True", "true"), ("False", "false"))


def leaves(key: str, value: object) -> list[tuple[str, object]]:
    """The values in a JSON object given as text, or as Python prints one, each named by the key and the path to it.

    Empty for anything else: whatever stands there, this returns. Lists are not looked into.
    """
    if type(value) is not str or not 1 < len(value) <= MAX_JSON or value[0] != "{":
        return []
    if value[1] == "'":
        for word, meant in _PYTHON_WORDS:
            value = value.replace(word, meant)
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return []
    return list(_leaves(key, parsed, _MAX_DEPTH))


def _leaves(path: str, parsed: dict[str, object], depth: int) -> Iterator[tuple[str, object]]:
    for name, value in parsed.items():
        if type(value) is dict:
            if depth:
                yield from _leaves(f"{path}.{name}", value, depth - 1)
        elif value is not None:
            yield f"{path}.{name}", value
