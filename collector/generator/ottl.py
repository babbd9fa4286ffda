"""The few pieces of OTTL, the collector's transformation language, that the configuration is made of.

Two rules hold for every condition made here, since all of it runs under `error_mode: propagate`: nothing is compared,
matched or converted before its type is known (a regular expression over a double that is no number fails, for
example), and each `and` stands behind the check that makes its right side safe: OTTL stops at the first False.
"""

from __future__ import annotations

from typing import Final

SPAN: Final = "span.attributes"
CLEAN: Final = "span.cache"
"""Where the attributes of the cleaned span are put together; it starts empty in each group of statements."""
COUNTS_KEY: Final = "counts"
COUNTS: Final = f'{CLEAN}["{COUNTS_KEY}"]'
"""Where the counts stand as texts while they are copied."""
RESOURCE: Final = "resource.attributes"


def text(value: str) -> str:
    """A string literal."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def at(where: str, key: str) -> str:
    """One value of a map."""
    return f"{where}[{text(key)}]"


def all_of(*conditions: str) -> str:
    """A conjunction; safe to nest."""
    return " and ".join(conditions)


def any_of(*conditions: str) -> str:
    """A disjunction in brackets."""
    return "(" + " or ".join(conditions) + ")"


def matches(value: str, pattern: str) -> str:
    """Whether a value is a string of a pattern; false for every other type."""
    return f"IsString({value}) and IsMatch({value}, {text(pattern)})"


def put(target: str, value: str, *conditions: str) -> str:
    """A statement that sets a value, if all conditions hold."""
    where = f" where {all_of(*conditions)}" if conditions else ""
    return f"set({target}, {value}){where}"
