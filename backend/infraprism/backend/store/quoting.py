"""Constants of ours inside SQL text. What comes from outside is never written into SQL; it is bound as a parameter."""

from __future__ import annotations

from collections.abc import Iterable


def literal(text: str) -> str:
    """A string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def array(texts: Iterable[str]) -> str:
    """An array of string literals."""
    return f"[{', '.join(map(literal, texts))}]"
