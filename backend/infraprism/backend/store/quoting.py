"""SQL literals of constants. External values are never written into SQL text; they are bound as parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})


def literal(text: str) -> str:
    """A string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def array(texts: Iterable[str]) -> str:
    """An array of string literals."""
    return f"[{', '.join(map(literal, texts))}]"


def events_filter(condition: str | None) -> Mapping[str, str]:
    """The settings of a SELECT that sees only these rows of the table of events, also in its subqueries."""
    return NO_SETTINGS if condition is None else {"additional_table_filters": f"{{'events': {literal(condition)}}}"}
