"""SQL literals of constants. External values are never written into SQL text; they are bound as parameters."""

from __future__ import annotations

from collections.abc import Iterable


def literal(text: str) -> str:
    """A string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def array(texts: Iterable[str]) -> str:
    """An array of string literals."""
    return f"[{', '.join(map(literal, texts))}]"
