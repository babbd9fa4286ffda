"""Readers of attribute values: whatever type stands there, a value of one type comes out, or None.

The SDK lets attribute values be maps, bytes, None and nested lists, and turns numbers of other libraries into text.
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
from infraprism.schema.fields import MAX_TOKENS
from infraprism.schema.patterns import compiled

Reader = Callable[[object], object]


@dataclass(frozen=True)
class Words:
    """Reads constant words of an instrumentation as other values, and anything else as absent."""

    means: tuple[tuple[str, object], ...]

    def __call__(self, value: object) -> object:
        """The other value, if this is one of the words."""
        return next((means for word, means in self.means if word == value), None) if type(value) is str else None


def words(**means: object) -> Words:
    """Each word with what it means."""
    return Words(tuple(means.items()))


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
    try:
        whole = operator.index(value)  # type: ignore[arg-type]  # whatever type it is of
    except Exception:  # noqa: BLE001 - a value's own code runs here
        return None
    return whole if type(whole) is int and 0 <= whole <= MAX_TOKENS else None


def text(value: object) -> str | None:
    """A text of bearable length; empty means absent."""
    if type(value) is str:
        return value if 0 < len(value) <= MAX_TEXT else None
    return text(str.__str__(value)) if isinstance(value, str) else None


def error_in_text(value: object) -> str | None:
    """What an error's message tells: the digits of an HTTP status, else a name, in known wordings; or just that."""
    if not isinstance(value, str):
        return None
    from infraprism.providers import error_texts  # noqa: PLC0415 - most calls do not fail

    value = str.__str__(value)
    status = error_texts.status_in(value)
    if status is not None:
        return str(status)
    is_reduced = value in CODES or (len(value) == len("429") and value.isascii() and value.isdigit())
    return value if is_reduced else error_texts.name_in(value)


_NO_MODEL: Final = frozenset({"none", "null", "undefined", "unknown"})


def model(value: object) -> str | None:
    """The name of a model, but for the words that stand for none."""
    name = text(value)
    return None if name is None or name.lower() in _NO_MODEL else name


def quoted_model(value: object) -> str | None:
    """The name of a model as a JSON text, or as it is."""
    return model(value[1:-1] if type(value) is str and len(value) > 1 and value[0] == value[-1] == '"' else value)


def flag(value: object) -> bool | None:
    """True or False, also as text."""
    if value is True or value is False:
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


STREAM_OBJECT: Final = (
    r'^"?<(?:[A-Za-z_]{1,40}[.]){1,8}[A-Za-z_]{0,40}Stream[A-Za-z_]{0,40} object at 0x[0-9a-fA-F]{1,16}>"?$'
)
"""How Python prints a stream that was handed on unread; the collector matches it as well."""


def stream_object(value: object) -> bool | None:
    """That what stands for the answer is a stream as Python prints one, or what the collector made of that."""
    if flag(value):
        return True
    found = text(value)
    return True if found is not None and compiled(STREAM_OBJECT).match(found) else None


def failure(value: object) -> str | None:
    """The conventions' word for an error without a name, where a flag of success says no."""
    return "_OTHER" if flag(value) is False else None


def ended_in_error(value: object) -> str | None:
    """The conventions' word for an error without a name, where that is all why the answers of a call ended."""
    if type(value) is str:
        return "_OTHER" if value in _ERROR_ENDS else None
    return "_OTHER" if isinstance(value, list | tuple) and len(value) == 1 and value[0] == ERROR_END else None


ERROR_END: Final = "error"
_ERROR_ENDS: Final = frozenset({ERROR_END, f'["{ERROR_END}"]'})


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
# How Python prints what JSON writes otherwise.
_PYTHON_WORDS: Final = (("'", '"'), ("None", "null"), ("True", "true"), ("False", "false"))


Tree = dict[str, "str | Tree"]
"""The names in a JSON object that are read, and for each its key, or the names in the object that stands there."""


def tree(text: str, keys: Iterable[str]) -> Tree:
    """The names that the keys `<text>.<name>.<name>` lead through."""
    root: Tree = {}
    for key in keys:
        if key.startswith(text + "."):
            *names, last = key[len(text) + 1 :].split(".")
            branch = root
            for name in names:
                below = branch.setdefault(name, {})
                assert isinstance(below, dict), f"{key} leads through a value"
                branch = below
            branch[last] = key
    return root


def leaves(value: object, wanted: Tree) -> list[tuple[str, object]]:
    """What a map, or a JSON object given as text or as Python prints one, has at the wanted names, each under its key.

    Empty for anything else: whatever stands there, this returns.
    """
    found: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        _gather(value, wanted, found)
        return found
    if type(value) is not str or not 1 < len(value) <= MAX_JSON or value[0] != "{":
        return []
    if value[1] == "'":
        for word, meant in _PYTHON_WORDS:
            value = value.replace(word, meant)
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return []
    _gather(parsed, wanted, found)
    return found


def _gather(parsed: Mapping[str, object], wanted: Tree, found: list[tuple[str, object]]) -> None:
    for name, want in wanted.items():
        value = parsed.get(name)
        if value is not None:
            if type(want) is str:
                found.append((want, value))
            elif isinstance(value, Mapping) and type(want) is dict:
                _gather(value, want, found)
