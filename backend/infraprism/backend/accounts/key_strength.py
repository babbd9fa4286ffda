"""Whether an API key that a user has chosen can be guessed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

_MIN_BITS: Final = 40.0
_LONG_KEY: Final = 35
_PREFIX: Final = "ip-"
_MIN_RUN: Final = 3
_FORWARD: Final = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiopasdfghjklzxcvbnm")
_SEQUENCES: Final = (*_FORWARD, *(sequence[::-1] for sequence in _FORWARD))


def is_guessable(key: str) -> bool:
    """Whether a key has fewer than 40 bits by a simple estimate, as `ip-aaaaaaaaaaaaa` and `ip-1234567890123` have.

    Repeated parts count once, and so do runs of a sequence such as the alphabet. The estimate is the smaller of the
    entropy of the characters and the entropy of their differences. It cannot recognize words: keys should be random.
    """
    text = _without_runs(_without_repetition(key.removeprefix(_PREFIX).lower()))
    codes = [ord(character) for character in text]
    differences = [second - first for first, second in pairwise(codes)]
    return min(_entropy_bits(codes), _entropy_bits(differences)) * len(codes) < _MIN_BITS


def is_refused(key: str) -> bool:
    """Whether a key must not be added: it can be guessed and is short.

    A long one is only warned of: test environments use keys of one repeated character.
    """
    return len(key) < _LONG_KEY and is_guessable(key)


def _without_repetition(text: str) -> str:
    """The shortest beginning that is repeated up to the end of the text, or the text."""
    for length in range(1, len(text) - _MIN_RUN + 1):
        if text.startswith(text[length:]):
            return text[:length]
    return text


def _without_runs(text: str) -> str:
    """The text with only the first character of each run of a sequence, in either direction."""
    kept = ""
    while text:
        length = max(_run(text, sequence) for sequence in _SEQUENCES)
        kept += text[0]
        text = text[length if length >= _MIN_RUN else 1 :]
    return kept


def _run(text: str, sequence: str) -> int:
    """How many characters at the start of the text are neighbours in the sequence."""
    length = 1
    while length < len(text) and text[: length + 1] in sequence:
        length += 1
    return length


def _entropy_bits(values: Iterable[int]) -> float:
    """The Shannon entropy of one value."""
    counts = Counter(values)
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())
