"""Usage that only exists as JSON in a text, taken apart into attributes. The text itself never leaves.

The collector's JSON parser fails on what is no JSON, and a failure would take a whole request along. So a text is only
parsed once it is shown that the parser must succeed: a copy of it is reduced, strings and numbers of bounded length
first, then what only holds those, from the inside out, and must come down to one mark. Of a text that does not, or
that lies in more objects than usage of any provider does, nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collector.generator.ottl import CLEAN, SPAN, all_of, at, put, text

Paths = tuple[tuple[str, ...], ...]
_MAX_BYTES: Final = 4096
MAX_DEPTH: Final = 6
_SPACE: Final = "[ \\t\\r\\n]"
# Escapes are taken out first. Bytes that are no UTF-8 are read as U+FFFD by RE2.
_STRING: Final = r'"[^"\\\x00-\x1f\x{fffd}]*"'
_ESCAPE: Final = r"(?s)\\."
_NUMBER: Final = "-?(?:0|[1-9][0-9]{0,14})(?:[.][0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?"
OBJECT: Final = f"^{_SPACE}*[{{]"
"""The pattern of what can only be an object."""
WHOLE: Final = "#"
"""What a text comes down to that can be parsed."""
REDUCTIONS: Final = (
    ("[~#]", "!"),
    (_STRING, "~"),
    (f"(?:{_NUMBER}|true|false|null)", WHOLE),
    (f"{_SPACE}+", ""),
    *((r"\[(?:[~#](?:,[~#])*)?\]", WHOLE), (r"\{(?:~:[~#](?:,~:[~#])*)?\}", WHOLE)) * MAX_DEPTH,
)
"""Patterns, and what each match of them becomes, in this order: a string becomes `~`, every other value `#`."""


# How Python prints what JSON writes otherwise; some instrumentations write that.
_PYTHON_START: Final = "^[{]'"
_PYTHON_WORDS: Final = (("'", '"'), ("None", "null"), ("True", "true"), ("False", "false"))


_PARSED_KEY: Final = "parsed"
_PARSED: Final = at(CLEAN, _PARSED_KEY)
_SHAPE_KEY: Final = "shape"
_SHAPE: Final = at(CLEAN, _SHAPE_KEY)


def statements(key: str, paths: Paths) -> Iterator[str]:
    """Parse the text of a key, and copy what stands at the paths to attributes that have guards of their own."""
    raw = at(SPAN, key)
    is_short = all_of(f"IsString({raw})", f"Len({raw}) <= {_MAX_BYTES}")
    is_python = all_of(is_short, f"IsMatch({raw}, {text(_PYTHON_START)})")
    # Make JSON of what Python printed; quotes last, since by them it is told.
    for word, meant in (*_PYTHON_WORDS[1:], _PYTHON_WORDS[0]):
        yield f"replace_pattern({raw}, {text(word)}, {text(meant)}) where {is_python}"
    # No escape is in a name or value that is read.
    yield f'replace_pattern({raw}, {text(_ESCAPE)}, "") where {is_short}'
    yield put(_SHAPE, '""')
    yield put(_SHAPE, raw, is_short, f"IsMatch({raw}, {text(OBJECT)})")
    for pattern, mark in REDUCTIONS:
        yield f'replace_pattern({_SHAPE}, {text(pattern)}, {text(mark)}) where {_SHAPE} != ""'
    yield put(_PARSED, f"ParseJSON({raw})", f"{_SHAPE} == {text(WHOLE)}")
    yield put(_PARSED, raw, f"IsMap({raw})")
    is_parsed = f"IsMap({_PARSED})"
    names = ", ".join(text(".".join((key, *path))) for path in paths)
    yield f"flatten({_PARSED}, {text(key)}) where {is_parsed}"
    yield f"keep_keys({_PARSED}, [{names}]) where {is_parsed}"
    yield f'merge_maps({SPAN}, {_PARSED}, "upsert") where {is_parsed}'
    yield f"delete_key({CLEAN}, {text(_PARSED_KEY)})"
    yield f"delete_key({CLEAN}, {text(_SHAPE_KEY)})"
