"""Allow-list of span attributes: for each key of the dialects' tables one guard, which its values must pass.

Three consumers use it: the generator of the collector configuration (`collector/`), the backend, which refuses a span
with any other key or value, and `ContentFreeSpanExporter`. A guard is written once per kind of field, next to the
readers of `values`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Final, NamedTuple

from infraprism.dialects import DIALECTS, values
from infraprism.dialects.table import READERS, As, Dialect, key_of
from infraprism.dialects.values import Reader
from infraprism.providers import detection, error_messages, error_names, regions
from infraprism.schema import fields, usage_parts

PRESENT: Final = "true"
"""Takes the place of every value under a key that only has to be present."""
OTHER: Final = "other"
OTHER_ERROR: Final = "_OTHER"
"""The conventions' word for an error without a known name."""
NO_CALL: Final = "no_call"
"""Takes the place of an operation that is no billed call."""
EXCEPTION_TYPE: Final = "exception.type"
"""Attribute for the class of a recorded exception."""
NEVER: Final = frozenset({"session_on_span"})
"""Fields that may hold any text: their keys are never forwarded."""
_MAX_EXPONENT: Final = "[eE](?:-[0-9]{1,2}|[+]?[0-9])"


class Guard(NamedTuple):
    """The values of one kind of field that may be forwarded.

    `pattern` matches the whole text (`re.fullmatch`; Python and RE2 read it the same way). With `numbers`, integers and
    doubles pass if their decimal digits match; with `flags`, so do True and False. An empty text always passes: it
    means absent. `otherwise` is what the collector writes in place of a text that does not pass.
    """

    kind: str
    pattern: str
    numbers: bool = False
    flags: bool = False
    otherwise: str = ""

    def accepts(self, value: object) -> bool:
        """Whether the value may be forwarded as it is."""
        if isinstance(value, bool):
            return self.flags
        if isinstance(value, int | float):
            return self.numbers and _matches(self.pattern, digits(value))
        return isinstance(value, str) and (value == "" or _matches(self.pattern, value))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


def digits(number: float) -> str:
    """A number in decimal digits, whole doubles without a fraction, as the collector prints it."""
    if isinstance(number, int) or not math.isfinite(number):
        return str(number)
    return str(int(number)) if number.is_integer() else format(Decimal(repr(number)), "f")


def one_of(words: Iterable[str]) -> str:
    """The pattern of a closed list. In reverse order shared prefixes are adjacent, and longer words come first."""
    return "|".join(_escaped(word) for word in sorted(set(words) - {""}, reverse=True))


def _escaped(word: str) -> str:
    return re.sub(r"[][.*+?^${}()|\\]", r"\\\g<0>", word)


_ENDS: Final = frozenset(end for end, _ in error_names.CLASSES)
_COUNT: Final = rf"[0-9]{{1,{len(str(fields.MAX_TOKENS)) - 1}}}|{fields.MAX_TOKENS}"
COUNT: Final = Guard("count", _COUNT, numbers=True)
NUMBER: Final = Guard(
    "number", rf"[0-9]{{1,18}}(?:[.][0-9]{{1,38}})?(?:{_MAX_EXPONENT})?|(?i:true|false)", numbers=True, flags=True
)
"""Durations, amounts of money, flags."""
PRESENCE: Final = Guard("presence", PRESENT, flags=True)
MODEL: Final = Guard("model", fields.MODEL.pattern)
PROVIDER: Final = Guard("provider", f"(?i:{one_of({*detection.SPELLINGS, *fields.PROVIDERS})})", otherwise=OTHER)
HOST: Final = Guard("host", f"(?i:{regions.closed_pattern()}|{one_of({*detection.HOSTS, OTHER})})", otherwise=OTHER)
TIER: Final = Guard(
    "tier", f"(?i:{one_of({*values.TIERS, *values.MODIFIERS, values.UNKNOWN_TIER})})", otherwise=values.UNKNOWN_TIER
)
"""Service tiers, and modifiers of the price in a response."""
USAGE_PARTS: Final = Guard("usage_parts", usage_parts.PATTERN)
ERROR_CODE: Final = f"{error_messages.STATUS}|{OTHER_ERROR}|(?i:{one_of(error_names.CODES)})"
_CLASSES: Final = f"(?i:{one_of(_ENDS)}){error_messages.CLASS_SUFFIX}"
"""What the class of an error is reduced to: the end of its name that determines the type of error."""
ERROR: Final = Guard("error", f"{ERROR_CODE}|{_CLASSES}", otherwise=OTHER_ERROR)
ERROR_TEXT: Final = Guard("error_text", error_messages.REDUCED_MESSAGE)
FINGERPRINT: Final = Guard("fingerprint", "[0-9a-f]{64}")
"""SHA-256 of an id that is compared and never read."""
ENTITY_TYPE: Final = Guard("entity_type", one_of(fields.ENTITY_TYPES))
UNPRINTABLE: Final = "\n"
"""Takes the place of an attribution value that is not printable, which `attribution.scope.checked` then leaves out."""
IDENTIFIER: Final = Guard("identifier", f"{fields.TAGS.pattern}|{UNPRINTABLE}")

_BY_READER: Final[dict[object, Guard]] = {
    values.count: COUNT,
    values.seconds: NUMBER,
    values.milliseconds: NUMBER,
    values.money: NUMBER,
    values.flag: NUMBER,
    values.error_if_false: NUMBER,
    values.is_stream_object: PRESENCE,
    values.model: MODEL,
    values.quoted_model: MODEL,
    values.tier: TIER,
    values.modifier: TIER,
    values.usage_text: USAGE_PARTS,
    values.changes_bill: NUMBER,
    values.error_from_message: ERROR_TEXT,
}
_BY_FIELD: Final = {
    "provider": PROVIDER,
    "host": HOST,
    "error": ERROR,
    "error_code": ERROR,
    "response_id": FINGERPRINT,
    "entity_type": ENTITY_TYPE,
    "entity_id": IDENTIFIER,
    "session_id": IDENTIFIER,
}
"""Fields whose reader takes any text."""


def operations(dialects: Iterable[Dialect]) -> set[str]:
    """All words that name a billed call: those of the dialects and those of events."""
    return {*fields.OPERATIONS, *(word for dialect in dialects for word in dialect.operations)}


def constant_words(dialects: Iterable[Dialect]) -> set[str]:
    """All words of keys that are read as one of a few words: those of the dialects (`values.Words`) and of events."""
    found = {values.ERROR_END, *fields.COST_STATUSES, *fields.ERROR_TYPES}
    for _, entry in _entries(dialects):
        if isinstance(entry, As) and isinstance(entry.reader, values.Words):
            found.update(word for word, _ in entry.reader.means)
    return found


def operation_guard(dialects: Iterable[Dialect]) -> Guard:
    """The guard of the operation."""
    return Guard("operation", one_of({NO_CALL, *operations(dialects)}), otherwise=NO_CALL)


def word_guard(dialects: Iterable[Dialect]) -> Guard:
    """The guard of keys that are read as one of a few words."""
    return Guard("word", one_of(constant_words(dialects)))


def _entries(dialects: Iterable[Dialect]) -> Iterable[tuple[str, object]]:
    return ((field, entry) for dialect in dialects for field, of in dialect.keys.items() for entry in of)


def guards_of(dialects: Iterable[Dialect]) -> dict[str, Guard]:
    """The guard of every key that may be forwarded of these dialects' spans, tags aside: their keys are free.

    Raises LookupError for a field or reader without a guard, so that a new kind of value cannot pass unseen, and for a
    key that two dialects read as different kinds.
    """
    dialects = tuple(dialects)
    operation, word = operation_guard(dialects), word_guard(dialects)
    found = {EXCEPTION_TYPE: ERROR, **dict.fromkeys((fields.ENTITY_ID.key, fields.SESSION_ID.key), IDENTIFIER)}
    found[fields.ENTITY_TYPE.key] = ENTITY_TYPE
    for dialect in dialects:
        for field, entries in dialect.keys.items():
            for entry in entries if field not in NEVER else ():
                reader = entry.reader if isinstance(entry, As) else READERS[field]
                guard = _guard(field, reader, operation, word)
                if guard is None:
                    raise LookupError(
                        f"{key_of(entry)!r} of dialect {dialect.name!r}: no guard for the field {field!r}"
                    )
                if found.setdefault(key_of(entry), guard) != guard:
                    raise LookupError(f"{key_of(entry)!r}: dialects read it as {guard.kind} and as another kind")
    for key in sorted({key for dialect in dialects for key in dialect.marker_keys()}):
        found.setdefault(key, PRESENCE)
    return found


def _guard(field: str, reader: Reader, operation: Guard, word: Guard) -> Guard | None:
    if isinstance(reader, values.Words) or reader is values.error_from_finish_reasons:
        return word
    if field == "operation":
        return operation
    if reader in (values.text, values.identifier):
        return _BY_FIELD.get(field)
    return _BY_READER.get(reader)


GUARDS: Final[Mapping[str, Guard]] = guards_of(DIALECTS)
"""The guards of all dialects."""
