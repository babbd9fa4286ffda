"""Which keys belong to few dialects only, so that the spans of others need not pay for them.

Most dialects share the keys of the conventions; some have many of their own. A span is marked with its family
when it is recognised, by its name, of which nothing leaves; from there on only the keys that all share and those of
its family are looked at.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from infraprism.dialects.table import Dialect

_FEW_DIALECTS: Final = 3
_MANY_KEYS: Final = 4
COMMON: Final = "call"
"""The mark of spans whose dialects have the shared keys only."""


class Families:
    """The families of some dialects, each under the mark of its spans."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        readers: dict[str, set[int]] = defaultdict(set)
        for number, dialect in enumerate(dialects):
            for key in {*dialect.slots, *dialect.marker_keys(), *dialect.json_texts}:
                readers[key].add(number)
        together: dict[frozenset[int], set[str]] = defaultdict(set)
        for key, numbers in readers.items():
            if len(numbers) <= _FEW_DIALECTS < len(dialects):
                together[frozenset(numbers)].add(key)
        own = {numbers: keys for numbers, keys in together.items() if len(keys) >= _MANY_KEYS}
        self.marks: Final = tuple(_mark(number, own, dialects) for number in range(len(dialects)))
        """For each dialect what marks its spans."""
        keys: dict[str, set[str]] = {mark: set() for mark in sorted(self.marks)}
        for number, mark in enumerate(self.marks):
            keys[mark].update(*(of for numbers, of in own.items() if number in numbers))
        self.keys: Final[Mapping[str, frozenset[str]]] = {mark: frozenset(of) for mark, of in keys.items()}
        """For each mark the keys that only its family has; none for the mark of all others."""

    @property
    def special(self) -> frozenset[str]:
        """Every key that is not shared."""
        return frozenset().union(*self.keys.values())


def _mark(number: int, own: dict[frozenset[int], set[str]], dialects: Sequence[Dialect]) -> str:
    words = sorted(_word(dialects[max(numbers)].name) for numbers in own if number in numbers)
    return " ".join((COMMON, *words))


def _word(name: str) -> str:
    return re.sub("[^a-z0-9]+", "_", name.lower())
