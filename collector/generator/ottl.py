"""Building blocks of OTTL, the transformation language of the collector's `transform` and `filter` processors.

Statements under `error_mode: propagate` must not fail on any input: one failing span rejects its whole request. So no
value is compared or matched before its type is known. `and` stops at the first False.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SPAN: Final = "span.attributes"


def text(value: str) -> str:
    """A string literal."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def at(where: str, key: str) -> str:
    """One value of a map."""
    return f"{where}[{text(key)}]"


def cache(name: str) -> str:
    """A working variable of a group of statements: it is empty at the start of each group, for each span."""
    return at("span.cache", name)


def matches(value: str, pattern: str) -> str:
    """Whether a value is a string that matches; False for every other type."""
    return f"IsString({value}) and IsMatch({value}, {text(pattern)})"


def put(target: str, value: str, *conditions: str) -> str:
    """A statement that sets a value if all conditions hold."""
    return when(f"set({target}, {value})", *conditions)


def when(statement: str, *conditions: str) -> str:
    """A statement that runs if all conditions hold."""
    return f"{statement} where {' and '.join(conditions)}" if conditions else statement


def keep(target: str, keys: Iterable[str]) -> str:
    """A statement that removes all other keys of a map."""
    return f"keep_keys({target}, [{', '.join(map(text, keys))}])"


def replace_values(target: str, pattern: str, replacement: str) -> str:
    """A statement that replaces each match of the pattern in each string of a map."""
    return f'replace_all_patterns({target}, "value", {text(pattern)}, {text(replacement)})'
