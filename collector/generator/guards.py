"""Which values of an attribute may leave: for each kind how it is copied, and what the last gate holds it to.

A guard never lets a value through because of its key alone. Where a text can only be one of a few, others are not
copied or become one constant; what must be compared but not read becomes a fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from collector.generator.ottl import CLEAN, COUNTS, SPAN, all_of, any_of, at, matches, put, text

from infraprism.schema.fields import MAX_TOKENS, Field


@dataclass(frozen=True)
class Kept:
    """One key that may leave: the statements that copy it, and the condition that its value must then meet."""

    key: str
    copies: tuple[str, ...]
    proof: str
    is_count: bool = False
    """Whether the statements read the map COUNTS."""
    is_plain_count: bool = False
    """Whether it is a count and nothing else: those of a span are checked by one pattern."""

    @property
    def gate(self) -> str:
        """What makes the gate drop a span because of this key."""
        return f"{at(SPAN, self.key)} != nil and not ({self.proof})"


def either(guards: tuple[Kept, ...]) -> Kept:
    """One key with several guards: the first that copies its value wins, and the value may meet any of them."""
    if len(guards) == 1:
        return guards[0]
    first, *others = guards
    free = f"{at(CLEAN, first.key)} == nil"
    later = (_only_if(free, statement) for kept in others for statement in kept.copies)
    proof = any_of(*(f"({kept.proof})" for kept in guards))
    return Kept(first.key, (*first.copies, *later), proof, any(kept.is_count for kept in guards))


def _only_if(condition: str, statement: str) -> str:
    done, where, rest = statement.partition(" where ")
    return f"{done} where {condition} and {rest}" if where else f"{done} where {condition}"


def _from(key: str) -> tuple[str, str]:
    return at(SPAN, key), at(CLEAN, key)


def one_of(words: Iterable[str]) -> str:
    """The anchored pattern of a closed list."""
    return "^(?:" + "|".join(map(re.escape, sorted(words))) + ")$"


def pattern(key: str, regex: str) -> Kept:
    """A text of one pattern."""
    raw, clean = _from(key)
    return Kept(key, (put(clean, raw, matches(raw, regex)),), matches(raw, regex))


def quoted(key: str, regex: str) -> Kept:
    """A text of one pattern, which some write as a JSON text, in quotes: they are taken off."""
    raw, clean = _from(key)
    bare = pattern(key, regex)
    inside = regex.removeprefix("^").removesuffix("$")
    return replace(
        bare,
        copies=(
            *bare.copies,
            put(clean, f"Substring({raw}, 1, Len({raw}) - 2)", matches(raw, f'^"{inside}"$')),
        ),
    )


def choice(key: str, words: Iterable[str], *, other: str = "") -> Kept:
    """A text of a closed list, in any case of letters; each other text becomes `other`, or is left out."""
    raw, clean = _from(key)
    known = "(?i)" + one_of({*words} - {""})
    copies = [put(clean, raw, matches(raw, known))]
    if other:
        copies.append(put(clean, f'"{other}"', f"{clean} == nil", f"IsString({raw})", f'{raw} != ""'))
        known = "(?i)" + one_of({*words, other} - {""})
    return Kept(key, tuple(copies), matches(raw, known))


def exact_choice(key: str, words: Iterable[str]) -> Kept:
    """A text of a closed list."""
    return pattern(key, one_of(words))


def _whole(key: str, digits: str, minimum: int, maximum: int) -> Kept:
    raw, clean = _from(key)
    said = at(COUNTS, key)
    proof = all_of(f"IsInt({raw})", f"{raw} >= {minimum}", f"{raw} <= {maximum}")
    return Kept(key, (put(clean, f"Int({said})", f"IsMatch({said}, {text(digits)})"),), proof, is_count=True)


_COUNT: Final = f"(?:[0-9]{{1,{len(str(MAX_TOKENS)) - 1}}}|{MAX_TOKENS})"
ALL_COUNTS: Final = rf"^\[\]?(?:{_COUNT}[],])*$"
"""The pattern of a list of counts, as JSON: texts would stand in quotes. A count ends at a comma or with the list."""


def count(key: str) -> Kept:
    """A whole number from 0 to MAX_TOKENS, which some write as a double or as digits."""
    return replace(_whole(key, f"^{_COUNT}$", 0, MAX_TOKENS), is_plain_count=True)


def http_status(key: str) -> Kept:
    """A status of HTTP, which some write as digits."""
    return _whole(key, "^[1-5][0-9]{2}$", 100, 599)


def number(key: str) -> Kept:
    """A duration: a number from 0 up, whole or not."""
    raw, clean = _from(key)
    proof = all_of(any_of(f"IsInt({raw})", f"IsDouble({raw})"), f"{raw} >= 0", f"{raw} < {MAX_TOKENS}")
    return Kept(key, (put(clean, raw, proof),), proof)


_MONEY: Final = "^[0-9]{1,18}(?:[.][0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?$"


def money(key: str) -> Kept:
    """An amount, as text or as a double."""
    raw, clean = _from(key)
    double = all_of(f"IsDouble({raw})", f"{raw} >= 0", f"{raw} < {MAX_TOKENS}")
    proof = any_of(f"({matches(raw, _MONEY)})", f"({double})")
    return Kept(key, (put(clean, raw, proof),), proof)


def flag(key: str) -> Kept:
    """True or false, which some write as text."""
    raw, clean = _from(key)
    return Kept(
        key,
        (
            put(clean, raw, f"IsBool({raw})"),
            put(clean, "true", matches(raw, "^(?i:true)$")),
            put(clean, "false", matches(raw, "^(?i:false)$")),
        ),
        f"IsBool({raw})",
    )


def only(key: str, word: str) -> Kept:
    """One word, which some write as the only one of a list, or of a list as a JSON text."""
    raw, clean = _from(key)
    said = text(word)
    return Kept(
        key,
        (
            put(clean, said, matches(raw, one_of((word, f'["{word}"]')))),
            # A pattern is held against a list as JSON, and of what cannot be written so (NaN) the request would fail.
            put(clean, said, f"IsList({raw})", f"Len({raw}) == 1", f"IsString({raw}[0])", f"{raw}[0] == {said}"),
        ),
        f"{raw} == {said}",
    )


def presence(key: str) -> Kept:
    """That a key is there; of its value nothing is copied."""
    raw, clean = _from(key)
    return Kept(key, (put(clean, "true", f"{raw} != nil"),), f"IsBool({raw})")


def noted(key: str, regex: str) -> Kept:
    """That a text of one pattern stands there: true leaves instead of it."""
    raw, clean = _from(key)
    copies = (put(clean, "true", matches(raw, regex)), put(clean, "true", f"IsBool({raw})", f"{raw} == true"))
    return Kept(key, copies, f"IsBool({raw})")


_FINGERPRINT: Final = "^[0-9a-f]{64}$"


def fingerprint(key: str) -> Kept:
    """A text that is only ever compared: its SHA-256 leaves instead. A fingerprint stays what it is."""
    raw, clean = _from(key)
    return Kept(
        key,
        (
            put(clean, raw, matches(raw, _FINGERPRINT)),
            put(clean, f"SHA256({raw})", f"{clean} == nil", f"IsString({raw})", f'{raw} != ""'),
        ),
        matches(raw, _FINGERPRINT),
    )


_PRINTABLE: Final = re.compile(r"\^\(\?:\[\^(.*)\]\{(\d+),(\d+)\}\)\$")
# RE2 reads a byte that is no UTF-8 as this character. The character itself is rare enough to be given up with it.
_REPLACEMENT: Final = r"\x{fffd}"
_MAX_BYTES_PER_CHARACTER: Final = 4


def printable(value: str, field: Field) -> str:
    """Whether a value is a text of a field's printable characters, and UTF-8.

    The backend would have to refuse a whole batch because of one text that is not. The length is counted by hand:
    as a part of the pattern it would make a program of many thousand steps, once for each tag that a span may have.
    """
    found = _PRINTABLE.fullmatch(field.re2)
    if found is None:
        raise LookupError(f"{field.name}: the pattern is not one of printable characters and their number")
    excluded, minimum, maximum = found.groups()
    return all_of(
        f"IsString({value})",
        f"Len({value}) <= {int(maximum) * _MAX_BYTES_PER_CHARACTER}",
        f"not IsMatch({value}, {text(f'[{excluded}{_REPLACEMENT}]')})",
        f'Len(Split({value}, "")) <= {maximum}',
        *([f'{value} != ""'] if minimum != "0" else []),
    )


def of_field(field: Field) -> Kept:
    """The value of a field of an event, exactly as the table has it: nothing is converted."""
    raw, clean = _from(field.key)
    proof = {
        "int": all_of(f"IsInt({raw})", f"{raw} >= 0", f"{raw} <= {field.maximum}"),
        "bool": f"IsBool({raw})",
        "string": printable(raw, field) if _PRINTABLE.fullmatch(field.re2) else matches(raw, field.re2),
        "decimal": matches(raw, field.re2),
    }[field.kind]
    return Kept(field.key, (put(clean, raw, proof),), proof)
