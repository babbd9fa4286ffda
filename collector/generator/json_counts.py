"""Usage that only exists as JSON in a text, taken apart into attributes. The text itself never leaves.

The collector's JSON parser fails on what is no JSON, and a failure would take a whole request along. So a text is only
parsed if a pattern shows that the parser must succeed: an object of bounded depth, with numbers of bounded length.
Usage as providers report it has that form; of any other nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collector.generator.ottl import CLEAN, SPAN, all_of, at, matches, put, text

from infraprism.schema.fields import MAX_TOKENS

Paths = tuple[tuple[str, ...], ...]
_MAX_BYTES: Final = 4096
_LEAST_DEPTH: Final = 3
_SPACE: Final = "[ \\t\\r\\n]*"
# Escapes are taken out first. Bytes that are no UTF-8 are read as U+FFFD by RE2.
_STRING: Final = r'"[^"\\\x00-\x1f\x{fffd}]*"'
_ESCAPE: Final = r"(?s)\\."
_NUMBER: Final = "-?(?:0|[1-9][0-9]{0,14})(?:[.][0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?"
_SCALAR: Final = f"(?:{_STRING}|{_NUMBER}|true|false|null)"


def _bracketed(start: str, item: str, end: str) -> str:
    inner = f"{item}{_SPACE}"
    return f"{start}{_SPACE}(?:{inner}(?:,{_SPACE}{inner})*)?{end}"


def _object(value: str) -> str:
    return _bracketed("[{]", f"{_STRING}{_SPACE}:{_SPACE}{value}", "[}]")


def _list(value: str) -> str:
    return _bracketed("[[]", value, "]")


def _value(depth: int) -> str:
    """A value of so many objects within each other; lists hold flat ones only, which keeps the pattern short."""
    if depth == 0:
        return f"(?:{_SCALAR}|{_list(_SCALAR)})"
    return f"(?:{_SCALAR}|{_object(_value(depth - 1))}|{_list(f'(?:{_SCALAR}|{_object(_SCALAR)})')})"


def parsable(depth: int) -> str:
    """The pattern of texts with so many objects within each other that the parser succeeds on."""
    return f"^{_SPACE}{_object(_value(depth - 1))}{_SPACE}$"


# How Python prints what JSON writes otherwise; some instrumentations write that.
_PYTHON_START: Final = "^[{]'"
_PYTHON_WORDS: Final = (("'", '"'), ("None", "null"), ("True", "true"), ("False", "false"))


def plain_condition(key: str) -> str:
    """Whether the text of a key is short enough to be usage."""
    raw = at(SPAN, key)
    return all_of(f"IsString({raw})", f"Len({raw}) <= {_MAX_BYTES}")


def plain_statements(key: str) -> Iterator[str]:
    """Make JSON of what Python printed, and take escapes out: none is in a name or value that is read."""
    raw = at(SPAN, key)
    for word, meant in _PYTHON_WORDS[1:]:
        yield f"replace_pattern({raw}, {text(word)}, {text(meant)}) where IsMatch({raw}, {text(_PYTHON_START)})"
    word, meant = _PYTHON_WORDS[0]
    yield f"replace_pattern({raw}, {text(word)}, {text(meant)}) where IsMatch({raw}, {text(_PYTHON_START)})"
    yield f'replace_pattern({raw}, {text(_ESCAPE)}, "")'


def condition(key: str, paths: Paths) -> str:
    """Whether the text of a key can be parsed."""
    raw = at(SPAN, key)
    depth = max(_LEAST_DEPTH, *map(len, paths))
    return all_of(f"IsString({raw})", f"Len({raw}) <= {_MAX_BYTES}", matches(raw, parsable(depth)))


def statements(key: str, paths: Paths) -> Iterator[str]:
    """Parse the text, and copy what stands at the paths to attributes of their own, which have guards of their own."""
    yield f'merge_maps({CLEAN}, ParseJSON({at(SPAN, key)}), "upsert")'
    for path in paths:
        found, known = CLEAN, []
        for name in path:
            if found != CLEAN:
                known.append(f"IsMap({found})")
            found = f"{found}[{text(name)}]"
        target = at(SPAN, ".".join((key, *path)))
        yield put(target, found, *known, f"IsString({found})")
        yield put(target, f"Int({found})", *known, f"IsDouble({found})", _is_count(found))


def _is_count(value: str) -> str:
    return all_of(f"{value} >= 0", f"{value} <= {MAX_TOKENS}", f"Double(Int({value})) == {value}")
