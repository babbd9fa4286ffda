"""`usage.iterations` of Anthropic: compactions, advisors and fallbacks that are billed beside the usage of a message.

The usage of a message is the sum of its own iterations: of type `message`, and of the last one, `fallback_message`.
Those of other types, such as `compaction` and `advisor_message`, are not in it. Source: the docstrings of `BetaUsage`
in the anthropic package 2.14.
"""

from __future__ import annotations

from typing import Any, Final, cast

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation.usage_reader import Attribute, get_field, items_of, repeated_identifier
from infraprism.schema import fields
from infraprism.schema.usage_parts import Part, encoded

_WITHIN: Final = frozenset({"message", "fallback_message"})
_BESIDE: Final = frozenset({"compaction", "advisor_message"})
_COUNTS: Final = (
    key.INPUT_TOKENS,
    key.OUTPUT_TOKENS,
    key.CACHE_READ_TOKENS,
    key.CACHE_WRITE_TOKENS,
    key.ANTHROPIC_CACHE_WRITE_1H_TOKENS,
)
_FIELDS: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")

_Iteration = tuple[str, str | None, tuple[int, ...]]
"""Type, model and counts of one iteration, the input without the cache."""


def read(value: object, attributes: dict[str, Attribute]) -> None:
    """Keep the iterations until the usage of the message is complete."""
    found = [_iteration(item) for item in items_of(value)]
    if found:
        cast("dict[str, Any]", attributes)[key.USAGE_PARTS] = found


def read_fallback_credit(value: object, attributes: dict[str, Attribute]) -> None:
    """A redeemed credit changes the bill by an amount that is not reported."""
    status = get_field(get_field(value, "status"), "type")
    if status != "not_applied":
        attributes[key.UNPRICED_USAGE] = True


def complete(attributes: dict[str, Attribute]) -> None:
    """Add the iterations beside the usage to its counts, and write all of them as the parts of the call."""
    found: list[_Iteration] = cast("Any", attributes.pop(key.USAGE_PARTS))
    usage = tuple(cast("int", attributes.get(name, 0)) for name in _COUNTS)
    kinds = {kind for kind, _, _ in found}
    within = _sum(counts for kind, _, counts in found if kind in _WITHIN)
    if kinds <= _WITHIN and within == usage and _models(found) <= {None, attributes.get(key.RESPONSE_MODEL)}:
        if len(found) > 1:
            _write_parts(attributes, found)  # each has a prompt of its own, which may be long
        return
    if not kinds <= _WITHIN | _BESIDE or within != usage:
        attributes[key.UNPRICED_USAGE] = True
        return
    for name, total in zip(_COUNTS, _sum(counts for _, _, counts in found), strict=True):
        if total or name in attributes:
            attributes[name] = total
    _write_parts(attributes, found)


def _write_parts(attributes: dict[str, Attribute], found: list[_Iteration]) -> None:
    answering = attributes.get(key.RESPONSE_MODEL)
    text = encoded(
        Part(None if model == answering else model, counts[0] + counts[2] + counts[3], *counts[1:])
        for _, model, counts in found
    )
    if text is None:
        attributes[key.UNPRICED_USAGE] = True
    else:
        attributes[key.USAGE_PARTS] = text


def _models(found: list[_Iteration]) -> set[str | None]:
    return {model for _, model, _ in found}


def _sum(counts: Any) -> tuple[int, ...]:
    return tuple(map(sum, zip(*counts, strict=True))) or (0,) * len(_COUNTS)


def _iteration(item: object) -> _Iteration:
    kind = get_field(item, "type")
    counts = [_count(get_field(item, name)) for name in _FIELDS]
    counts.append(_count(get_field(get_field(item, "cache_creation"), "ephemeral_1h_input_tokens")))
    return kind if type(kind) is str else "", repeated_identifier(get_field(item, "model")), tuple(counts)


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value <= fields.MAX_TOKENS else 0
