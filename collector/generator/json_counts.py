"""Usage that only exists as JSON in a text, taken apart into attributes. The text itself never leaves.

The collector's JSON parser fails on what is no JSON, and a failure would take a whole request along. So a text is only
parsed if a pattern shows that the parser must succeed: an object of bounded depth, of plain ASCII texts without
escapes, and of numbers of bounded length. Usage as providers report it has that form; of any other nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collector.generator.ottl import CLEAN, SPAN, all_of, any_of, at, matches, put, text

_MAX_BYTES: Final = 4096
_DEPTH: Final = 3
_SPACE: Final = "[ \\t\\r\\n]*"
_STRING: Final = r'"[ !#-\[\]-~]*"'
_NUMBER: Final = "-?(?:0|[1-9][0-9]{0,14})(?:[.][0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?"
_SCALAR: Final = f"(?:{_STRING}|{_NUMBER}|true|false|null)"


def _object(depth: int) -> str:
    return _bracketed("[{]", f"{_STRING}{_SPACE}:{_SPACE}{_value(depth - 1)}", "[}]")


def _value(depth: int) -> str:
    if depth == 0:
        return _SCALAR
    return f"(?:{_SCALAR}|{_object(depth)}|{_bracketed('[[]', _value(depth - 1), ']')})"


def _bracketed(start: str, item: str, end: str) -> str:
    inner = f"{item}{_SPACE}"
    return f"{start}{_SPACE}(?:{inner}(?:,{_SPACE}{inner})*)?{end}"


PARSABLE: Final = f"^{_SPACE}{_object(_DEPTH)}{_SPACE}$"


def condition(key: str) -> str:
    """Whether the text of a key can be parsed."""
    raw = at(SPAN, key)
    return all_of(f"IsString({raw})", f"Len({raw}) <= {_MAX_BYTES}", matches(raw, PARSABLE))


def statements(key: str, paths: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    """Parse the text, and copy the numbers at the paths to attributes of their own."""
    yield f'merge_maps({CLEAN}, ParseJSON({at(SPAN, key)}), "upsert")'
    for path in paths:
        found, known = CLEAN, []
        for name in path:
            if found != CLEAN:
                known.append(f"IsMap({found})")
            found = f"{found}[{text(name)}]"
        yield put(at(SPAN, ".".join((key, *path))), found, *known, any_of(f"IsDouble({found})", f"IsString({found})"))
