"""Usage of a call that several models or requests of the provider served: one text for one span attribute.

A text is `<model>/<input>:<output>:<cache read>:<cache write>:<of it for an hour>`, with `//` between the parts. The
model `_` is the one that answered. The counts are those of the semantic conventions: input includes the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from infraprism.schema import fields
from infraprism.schema.usage import Usage

ANSWERING: Final = "_"
"""The model of a part that the model of the event served."""
MAX_PARTS: Final = 64
MAX_TEXT: Final = 8192
_COUNT: Final = "[0-9]{1,13}"
_MODEL: Final = r"(?:_|[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127})"
PART: Final = f"{_MODEL}/{_COUNT}(?::{_COUNT}){{4}}"
PATTERN: Final = f"{PART}(?://{PART})*"
"""Texts that the Collector forwards, whatever their length."""
_part: Final = re.compile(f"({_MODEL})/{':'.join([f'({_COUNT})'] * 5)}")


class Part(NamedTuple):
    """The usage of one model; `model` is None for the one that answered."""

    model: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def usage(self) -> Usage:
        """The counts as usage."""
        return Usage(*self[1:])


def encoded(parts: Iterable[Part]) -> str | None:
    """The text of the parts; None if it would not be readable again."""
    found = list(parts)
    text = "//".join(f"{part.model or ANSWERING}/{':'.join(map(str, part[1:]))}" for part in found)
    return text if 0 < len(found) <= MAX_PARTS and decoded(text) == found else None


def decoded(text: object) -> list[Part] | None:
    """The parts of a text; None for any other value."""
    if type(text) is not str or not 0 < len(text) <= MAX_TEXT:
        return None
    parts: list[Part] = []
    for one in text.split("//")[: MAX_PARTS + 1]:
        found = _part.fullmatch(one)
        if found is None:
            return None
        model, *counts = found.groups()
        numbers = [int(count) for count in counts]
        if max(numbers) > fields.MAX_TOKENS:
            return None
        parts.append(Part(None if model == ANSWERING else model, *numbers))
    return parts if len(parts) <= MAX_PARTS else None


def add_up(parts: Iterable[Part], usage: Usage) -> bool:
    """Whether the parts are all of a usage."""
    sums = [sum(counts) for counts in zip(*(part[1:] for part in parts), strict=True)]
    return sums == [count or 0 for count in usage[: len(sums)]]
