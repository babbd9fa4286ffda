"""Readers of attribute values: each takes a value of any type and returns a value of one type, or None.

Attribute values can be maps, bytes, None and nested lists. The SDK converts numbers of other libraries to text.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from infraprism.providers.error_names import CODES
from infraprism.schema import usage_parts
from infraprism.schema.fields import MAX_TOKENS
from infraprism.schema.patterns import compiled

Reader = Callable[[object], object]


@dataclass(frozen=True)
class Words:
    """Maps constant words of an instrumentation to values, and anything else to None."""

    means: tuple[tuple[str, object], ...]

    def __call__(self, value: object) -> object:
        """The value of this word."""
        return next((means for word, means in self.means if word == value), None) if type(value) is str else None


def map_words(**means: object) -> Words:
    """A reader that maps each word to a value."""
    return Words(tuple(means.items()))


MAX_TEXT: Final = 512
"""Longest text that is read; every name in the field table is far shorter."""
_MAX_DIGITS: Final = 13
# Does not depend on the application's decimal context, and has no traps.
_EXACT: Final = Context(prec=60, traps=[])

UNKNOWN_TIER: Final = "unknown"
"""A tier, or another modifier of the price, without a known price."""
TIERS: Final = {
    "default": "standard",
    "standard": "standard",
    "on_demand": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",  # OpenAI's new name of priority
    "batch": "batch",
    "auto": None,  # the requested tier, not the one that was used
    "": None,
}


MODIFIERS: Final = {
    # Anthropic's `usage.inference_geo`.
    "us": "us",
    "global": None,
    "not_available": None,
    # Anthropic's `usage.speed`.
    "fast": "fast",
    "standard": None,
    "": None,
}


def modifier(value: object) -> str | None:
    """A modifier of the price in a response, such as a region or a speed: None if it changes nothing."""
    name = text(value)
    return None if name is None else MODIFIERS.get(name.lower(), UNKNOWN_TIER)


def usage_text(value: object) -> str | None:
    """The usage of a call by model, as `schema.usage_parts` writes it."""
    return value if type(value) is str and usage_parts.decoded(value) is not None else None


def changes_bill(value: object) -> bool | None:
    """True for a flag that is set, a number that is not 0, or an object or list that is not empty; else None."""
    if isinstance(value, str):
        return True if value not in _NOTHING else None
    return True if value else None


_NOTHING: Final = frozenset({"", "0", "0.0", "false", "False", "null", "None", "{}", "[]"})


def count(value: object) -> int | None:
    """An integer from 0 to MAX_TOKENS, also as 12.0 or "12"."""
    if type(value) is int:
        return value if 0 <= value <= MAX_TOKENS else None
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return int(value) if len(value) <= _MAX_DIGITS and value.isascii() and value.isdigit() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and 0 <= value <= MAX_TOKENS else None
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # any type
    except Exception:  # noqa: BLE001 - runs code of the value's class
        return None
    return number if type(number) is int and 0 <= number <= MAX_TOKENS else None


def text(value: object) -> str | None:
    """A text of 1 to MAX_TEXT characters."""
    if type(value) is str:
        return value if 0 < len(value) <= MAX_TEXT else None
    return text(str.__str__(value)) if isinstance(value, str) else None


def identifier(value: object) -> str | None:
    """A text, or an integer as text: an identifier of the application."""
    return str(value) if type(value) is int else text(value)


def error_from_message(value: object) -> str | None:
    """The HTTP status in an error message, as text, else the name of an error, both in known wordings.

    A message that the collector already reduced to one of them is returned as it is.
    """
    if not isinstance(value, str):
        return None
    from infraprism.providers import error_messages  # noqa: PLC0415 - most calls do not fail

    value = str.__str__(value)
    status = error_messages.status_in(value)
    if status is not None:
        return str(status)
    is_reduced = value in CODES or (len(value) == len("429") and value.isascii() and value.isdigit())
    return value if is_reduced else error_messages.name_in(value)


_NO_MODEL: Final = frozenset({"none", "null", "undefined", "unknown"})


def model(value: object) -> str | None:
    """The name of a model. Words such as `none` are no model."""
    name = text(value)
    return None if name is None or name.lower() in _NO_MODEL else name


def quoted_model(value: object) -> str | None:
    """The name of a model, as a JSON text or plain."""
    return model(value[1:-1] if type(value) is str and len(value) > 1 and value[0] == value[-1] == '"' else value)


def flag(value: object) -> bool | None:
    """True or False, also as text."""
    if value is True or value is False:
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


STREAM_OBJECT: Final = (
    r'^"?<(?:[A-Za-z_]{1,40}[.]){1,8}[A-Za-z_]{0,40}Stream[A-Za-z_]{0,40} object at 0x[0-9a-fA-F]{1,16}>"?$'
)
"""Python's repr of a stream object. The collector matches it as well."""


def is_stream_object(value: object) -> bool | None:
    """True for Python's repr of a stream object in place of a response, or for the collector's True; else None."""
    if flag(value):
        return True
    found = text(value)
    return True if found is not None and compiled(STREAM_OBJECT).match(found) else None


def error_if_false(value: object) -> str | None:
    """`_OTHER`, the conventions' error type without a name, if a success flag is false; else None."""
    return "_OTHER" if flag(value) is False else None


def error_from_finish_reasons(value: object) -> str | None:
    """`_OTHER`, the conventions' error type without a name, if the only finish reason is `error`; else None."""
    if type(value) is str:
        return "_OTHER" if value in _ERROR_ENDS else None
    return "_OTHER" if isinstance(value, list | tuple) and len(value) == 1 and value[0] == ERROR_END else None


ERROR_END: Final = "error"
_ERROR_ENDS: Final = frozenset({ERROR_END, f'["{ERROR_END}"]'})


def milliseconds(value: object) -> int | None:
    """A duration in milliseconds, to the nearest integer."""
    return _milliseconds(value, 1)


def seconds(value: object) -> int | None:
    """A duration in seconds, as integer milliseconds."""
    return _milliseconds(value, 1000)


def _milliseconds(value: object, factor: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return round(value * factor) if value < MAX_TOKENS else None


def tier(value: object) -> str | None:
    """A service tier of the field table, or UNKNOWN_TIER."""
    name = text(value)
    return None if name is None else TIERS.get(name.lower(), UNKNOWN_TIER)


def money(value: object) -> Decimal | None:
    """An amount that a provider reported, exact to its last digit."""
    if isinstance(value, float):
        value = repr(float(value))
    if type(value) is not str or len(value) > len("0." + "0" * 38):
        return None
    amount = _EXACT.create_decimal(value)
    return amount if amount.is_finite() and not amount.is_signed() else None


MAX_JSON: Final = 4096
"""Longest JSON text that is parsed; a usage object is a few hundred characters."""
# Python's repr of values that JSON writes differently.
_PYTHON_WORDS: Final = (("'", '"'), ("None", "null"), ("True", "true"), ("False", "false"))


Tree = dict[str, "str | Tree"]
"""The names to read in a JSON object: for each its key, or the names in the nested object.

In a usage object every other number than `NOT_BILLED` is found under the key `UNPRICED`. The name "" marks it.
"""
UNPRICED: Final = "infraprism.usage.unpriced"
NOT_BILLED: Final = (
    # Totals, parts that are priced as the whole, durations, and tools without a fee, as providers name them in usage.
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"),
    *("text_tokens", "image_tokens", "video_tokens", "accepted_prediction_tokens"),
    *("rejected_prediction_tokens", "ephemeral_5m_input_tokens", "web_fetch_requests", "tool_search_requests"),
    *("prompt_cache_miss_tokens", "queue_time", "prompt_time", "completion_time", "total_time", "cost", "cost_details"),
    *("cost_in_usd_ticks", "estimated_cost", "market_cost", "cached_tokens", "num_cached_tokens"),
)
"""Names of numbers in a closed usage object that change no bill by themselves."""


def tree(text: str, keys: Iterable[str], *, is_usage: bool = False) -> Tree:
    """The names on the paths of the keys `<text>.<name>.<name>`."""
    root: Tree = {"": UNPRICED} if is_usage else {}
    for key in keys:
        if key.startswith(text + "."):
            *names, last = key[len(text) + 1 :].split(".")
            branch = root
            for name in names:
                below = branch.setdefault(name, {})
                assert isinstance(below, dict), f"a part of the path {key} is a key itself"
                branch = below
            branch[last] = key
    return root


def leaves(value: object, wanted: Tree) -> list[tuple[str, object]]:
    """The wanted values in a map, in a JSON text, or in Python's repr of a map, each with its key.

    Empty for anything else. Never raises.
    """
    found: list[tuple[str, object]] = []
    parsed = _object(value)
    _gather(parsed, wanted, found)
    if "" in wanted and _has_unpriced(parsed, wanted):
        found.append((UNPRICED, True))
    return found


def _object(value: object) -> Mapping[str, object]:
    """A map, or the object in a JSON text or in Python's repr of a map. Empty for anything else. Never raises."""
    if isinstance(value, Mapping):
        return value
    if type(value) is not str or not 1 < len(value) <= MAX_JSON or value[0] != "{":
        return {}
    if value[1] == "'":
        for word, meant in _PYTHON_WORDS:
            value = value.replace(word, meant)
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _gather(parsed: Mapping[str, object], wanted: Tree, found: list[tuple[str, object]]) -> None:
    for name, want in wanted.items():
        value = parsed.get(name)
        if value is not None:
            if type(want) is str:
                found.append((want, value))
            elif isinstance(value, Mapping) and type(want) is dict:
                _gather(value, want, found)
            elif isinstance(value, list) and type(want) is dict:
                _gather(dict(zip(map(str, range(_MAX_ITEMS)), value, strict=False)), want, found)


def _has_unpriced(value: object, wanted: Tree) -> bool:
    """Whether a usage object has a number other than 0 under a name that is neither wanted nor `NOT_BILLED`."""
    if isinstance(value, Mapping):
        return any(
            _has_unpriced(item, branch)
            if isinstance(branch := wanted.get(name), dict)
            else _is_unpriced(name, item, branch)
            for name, item in value.items()
        )
    return type(value) in {int, float} and value != 0


def _is_unpriced(name: str, value: object, wanted: str | None) -> bool:
    if wanted is not None or name in NOT_BILLED:
        return False
    if isinstance(value, Mapping):
        return any(_is_unpriced(inner, item, None) for inner, item in value.items())
    return type(value) in {int, float} and value != 0


_MAX_ITEMS: Final = 2
